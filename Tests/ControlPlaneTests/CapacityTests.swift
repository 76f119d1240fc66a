import ControlPlane
import SessionModel
import Testing

/// How many sandboxes live at once, who waits, and who is refused.
struct CapacityTests {
  @Test("a session waits for a place until the one that works is done, whose idle process then gives way")
  func waits() async throws {
    try await World.run(.init(sandboxes: 1)) { world in
      let first = try await world.submit(.sdk("gate go; say one", key: "test:a"))
      try await world.wait("test:a") { $0.isCommandStart }
      let second = try await world.submit(.sdk("say two", key: "test:b"))
      try await world.open(gate: "go", of: "test:a")
      #expect(try await first.finished().texts == ["one"])
      #expect(try await second.finished().texts == ["two"])
      let stop = try await world.wait("test:a") { $0.isSandboxStop }
      guard case .sandboxStopped(_, let reason) = stop.payload else { return }
      #expect(reason == "capacity")
    }
  }

  @Test("the process that has been idle the longest gives way, and its session goes on where it was")
  func evictsTheOldest() async throws {
    try await World.run(.init(sandboxes: 2)) { world in
      _ = try await world.run("say one", key: "test:a")
      _ = try await world.run("say two", key: "test:b")
      _ = try await world.run("say three", key: "test:c")
      #expect(try await world.kinds("test:a").contains("sandbox.stopped"))
      #expect(try await !world.kinds("test:b").contains("sandbox.stopped"))
      #expect(try await world.run("recall", key: "test:a").texts == ["say one"])
      #expect(try await world.log("test:a").sandboxes == [.cold, .resumed])
    }
  }

  @Test("many sessions share few places: each turn runs once and to its end")
  func many() async throws {
    try await World.run(.init(sandboxes: 2)) { world in
      try await withThrowingTaskGroup(of: Void.self) { group in
        for number in 0..<8 {
          group.addTask {
            for turn in 0..<3 {
              let events = try await world.run("count done; say \(turn)", key: "test:\(number)")
              #expect(events.texts == ["\(turn)"])
            }
          }
        }
        try await group.waitForAll()
      }
      for number in 0..<8 { #expect(try await world.lines("done", of: "test:\(number)").count == 3) }
    }
  }

  @Test("an idle process is ended after its time, and the next turn goes on where it was")
  func idle() async throws {
    try await World.run(.init(idleSandbox: .milliseconds(50))) { world in
      _ = try await world.run("say one", key: "test:a")
      let stop = try await world.wait("test:a") { $0.isSandboxStop }
      guard case .sandboxStopped(_, let reason) = stop.payload else { return }
      #expect(reason == "idle")
      #expect(try await world.run("recall", key: "test:a").texts == ["say one"])
      #expect(try await world.log("test:a").sandboxes == [.cold, .resumed])
    }
  }
}
