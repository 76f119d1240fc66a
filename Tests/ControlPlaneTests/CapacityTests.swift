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

  @Test("beyond its limit of turns the server refuses, before it has written anything")
  func tooMany() async throws {
    try await World.run(.init(sandboxes: 1, turns: 2)) { world in
      let first = try await world.submit(.sdk("gate go", key: "test:a"))
      try await world.wait("test:a") { $0.isCommandStart }
      let second = try await world.submit(.sdk("say two", key: "test:b"))
      let error = await #expect(throws: CentaurError.self) {
        try await world.submit(.sdk("say three", key: "test:c"))
      }
      #expect(error?.code == .tooManyTurns)
      #expect(error?.retryAfter != nil)
      #expect(try await world.store.session(owner: .local, key: ThreadKey("test:c")) == nil)
      // A session that has its sandbox takes turns none the less.
      let third = try await world.submit(.sdk("say next", key: "test:a"))
      try await world.open(gate: "go", of: "test:a")
      for turn in [first, second, third] { #expect(try await turn.finished().ends == ["completed"]) }
      #expect(try await world.run("say three", key: "test:c").ends == ["completed"])
    }
  }

  @Test("requests of many sessions that come at once are not let in beyond the limit")
  func tooManyAtOnce() async throws {
    try await World.run(.init(sandboxes: 1, turns: 3)) { world in
      let first = try await world.submit(.sdk("gate go", key: "test:first"))
      try await world.wait("test:first") { $0.isCommandStart }
      let admitted = try await withThrowingTaskGroup(of: AdmittedTurn?.self) { group in
        for number in 0..<20 {
          group.addTask {
            do {
              return try await world.submit(.sdk("say hello", key: "test:\(number)"))
            } catch let error as CentaurError {
              #expect(error.code == .tooManyTurns)
              return nil
            }
          }
        }
        var admitted: [AdmittedTurn] = []
        for try await turn in group { if let turn { admitted.append(turn) } }
        return admitted
      }
      #expect(admitted.count == 2)
      try await world.open(gate: "go", of: "test:first")
      for turn in [first] + admitted { #expect(try await turn.finished().ends == ["completed"]) }
      #expect(try await world.run("say hello", key: "test:later").ends == ["completed"])
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

  @Test("a turn that is cancelled while it waits for a place does not take one")
  func cancelledInLine() async throws {
    try await World.run(.init(sandboxes: 1)) { world in
      let first = try await world.submit(.sdk("gate go", key: "test:a"))
      try await world.wait("test:a") { $0.isCommandStart }
      let second = try await world.submit(.sdk("say two", key: "test:b"))
      await world.controlPlane.cancel(second, reason: "client_disconnected")
      #expect(try await second.finished().ends == ["cancelled (client_disconnected)"])
      try await world.open(gate: "go", of: "test:a")
      _ = try await first.finished()
      #expect(try await world.run("say more", key: "test:a").ends == ["completed"])
      #expect(try await world.log("test:a").sandboxes == [.cold])
      #expect(try await world.log("test:b").sandboxes.isEmpty)
    }
  }
}
