import FoundationEssentials
import Glibc
import Harness
import SessionModel
import Synchronization
import Testing

@testable import ControlPlane

/// A harness that fails: its turn comes to one end that says why, and the session takes the next one.
struct HarnessFailureTests {
  private static func harness(_ start: ScriptedHarness.Start) -> [ScriptedHarness] {
    [.init(name: World.scripted, start: start), .init(name: HarnessName(rawValue: "well"))]
  }

  @Test("a harness that dies in a turn fails it, with what it left open closed, and the next turn gets another process")
  func dies() async throws {
    try await World.run { world in
      let events = try await world.run("say one; open half; exit 3", key: "test:a")
      #expect(events.ends == ["failed (harness_died)"])
      #expect(events.texts == ["one", "half"])
      #expect(try await world.run("say on", key: "test:a").texts == ["on"])
      let log = try await world.log("test:a")
      #expect(log.sandboxes.count == 2)
      #expect(
        log.contains { event in
          guard case .sandboxLost(_, let reason) = event.payload else { return false }
          return reason == "exit status 3"
        })
      #expect(log.isDense)
    }
  }

  @Test("a harness that is killed while it waits for a turn is replaced")
  func diesIdle() async throws {
    try await World.run { world in
      _ = try await world.run("pid harness", key: "test:a")
      try await world.killHarness("harness", of: "test:a")
      try await world.wait("test:a") { if case .sandboxLost = $0 { true } else { false } }
      #expect(try await world.run("recall", key: "test:a").texts == ["pid harness"])
    }
  }

  @Test("turns that wait are not lost when the harness dies")
  func queueSurvives() async throws {
    try await World.run { world in
      let first = try await world.submit(.sdk("gate go; exit 1", key: "test:a"))
      try await world.wait("test:a") { $0.isCommandStart }
      let second = try await world.submit(.sdk("say two", key: "test:a"))
      try await world.open(gate: "go", of: "test:a")
      #expect(try await first.finished().ends == ["failed (harness_died)"])
      #expect(try await second.finished().texts == ["two"])
    }
  }

  @Test("a shim that is killed fails the turn; the session goes on", arguments: ["say one; hold", "gate go"])
  func shimDies(_ text: String) async throws {
    try await World.run { world in
      let turn = try await world.submit(.sdk(text, key: "test:a"))
      try await world.wait("test:a") { $0.isMessage("one") || $0.isCommandStart }
      for shim in try await world.shims(of: "test:a") { #expect(kill(shim, SIGKILL) == 0) }
      // What is sent to a shim that has just died must not cost more than its turn.
      await world.controlPlane.cancel(turn, reason: "test")
      #expect(["failed (sandbox_lost)", "cancelled (test)"].contains(try await turn.finished().ends.first))
      #expect(try await world.run("say on", key: "test:a").texts == ["on"])
      #expect(try await world.log("test:a").isDense)
    }
  }

  @Test(
    "a harness that does not come up fails the turns that wait for it, each once",
    arguments: [ScriptedHarness.Start.exits, .silent, .refuses, .long])
  func doesNotStart(_ start: ScriptedHarness.Start) async throws {
    let limits = ControlPlaneConfiguration.Limits(
      harnessStart: start == .silent ? .milliseconds(200) : .seconds(60), harnessLine: 100_000)
    try await World.run(limits, harnesses: Self.harness(start)) { world in
      let request = try TurnRequest.cli([.said("count done", "m1")], key: "test:a", turn: "t1")
      let first = try await world.submit(request)
      #expect(try await first.finished().ends == ["failed (harness_start_failed)"])
      // A retry is shown the failure; a new turn tries again.
      #expect(try await world.submit(request).execution.id == first.execution.id)
      #expect(try await world.run("count done", key: "test:a").ends == ["failed (harness_start_failed)"])
      #expect(try await world.log("test:a").started.isEmpty)
      #expect(try await world.lines("done", of: "test:a").isEmpty)
    }
  }

  @Test("a failed start leaves nothing behind", arguments: [ScriptedHarness.Start.exits, .refuses])
  func nothingLeft(_ start: ScriptedHarness.Start) async throws {
    try await World.run(hasServer: false, harnesses: Self.harness(start)) { world in
      let node = world.startServer("node-2")
      _ = try await node.controlPlane.submit(.sdk("say one", key: "test:a")).finished()
      try await node.shutDown()
      #expect(try await world.leftovers(of: "test:a").isEmpty)
    }
  }

  @Test("a failed start gives its place back")
  func placeAfterFailedStart() async throws {
    try await World.run(.init(sandboxes: 1), harnesses: Self.harness(.exits)) { world in
      _ = try await world.run("say one", key: "test:a")
      let well = try TurnRequest.sdk("say well", key: "test:b").with { $0.harness = HarnessName(rawValue: "well") }
      #expect(try await world.submit(well).finished().texts == ["well"])
    }
  }

  @Test("an executable that is not there fails the turn")
  func missingExecutable() async throws {
    try await World.run(hasServer: false) { world in
      let node = world.startServer("node-2", executable: "/nonexistent/harness")
      let turn = try await within { try await node.controlPlane.submit(.sdk("say one", key: "test:a")) }
      #expect(try await turn.finished().ends == ["failed (harness_start_failed)"])
      try await node.shutDown()
    }
  }

  @Test("a session whose harness this server does not have any more is told so")
  func unconfigured() async throws {
    try await World.run(harnesses: Self.harness(.ready)) { world in
      let well = try TurnRequest.sdk("say well", key: "test:a").with { $0.harness = HarnessName(rawValue: "well") }
      _ = try await world.submit(well).finished()
      let node = world.startServer("node-2", harnesses: [world.harnesses[0]])
      let turn = try await within { try await node.controlPlane.submit(.sdk("say more", key: "test:a")) }
      #expect(try await turn.finished().ends == ["failed (harness_start_failed)"])
      try await node.shutDown()
    }
  }

  @Test("lines that are not of the protocol are noted and do not end a turn")
  func garbage() async throws {
    try await World.run(harnesses: Self.harness(.garbage)) { world in
      let events = try await world.run("garbage; say one", key: "test:a")
      #expect(events.ends == ["completed"])
      #expect(events.map(\.payload).contains(.warning(code: "harness_protocol", message: "3 bytes")))
    }
  }

  @Test("a line as long as the limit is read, a longer one ends the turn with an error of its own")
  func longLine() async throws {
    try await World.run(.init(harnessLine: 100_000)) { world in
      for length in [99_999, 100_000] {
        let events = try await world.run("long \(length); say one", key: "test:a")
        #expect(events.texts == ["one"])
      }
      let tooLong = try await world.run("long 100001; say one", key: "test:a")
      #expect(tooLong.ends == ["failed (harness_line_too_long)"])
      #expect(try await world.run("say on", key: "test:a").texts == ["on"])
    }
  }

  @Test("a turn whose output reaches its limit goes on, one that goes beyond ends with an error of its own")
  func turnOutput() async throws {
    let text = "many 100; hold"
    let size = try await Self.output(of: text, limit: 1 << 20)
    #expect(size.end == "cancelled (test)")
    for limit in [size.bytes, size.bytes + 1] {
      #expect(try await Self.output(of: text, limit: limit).end == "cancelled (test)")
    }
    let over = try await Self.output(of: text, limit: size.bytes - 1)
    #expect(over.end == "failed (turn_output_limit)")
  }

  /// What a turn that holds adds to the log, and how it ends, where it is interrupted if it does not end before.
  private static func output(of text: String, limit: Int) async throws -> (bytes: Int, end: String?) {
    let found = Mutex<(Int, String?)>((0, nil))
    try await World.run(.init(turnOutput: limit)) { world in
      let turn = try await world.submit(.sdk(text, key: "test:a"))
      let last = try await world.wait("test:a") { payload in
        if payload.isTerminal { return true }
        guard case .itemCompleted(let item) = payload, case .message(let message) = item.content else { return false }
        return message.text == "100"
      }
      if !last.payload.isTerminal { _ = await world.controlPlane.cancel(turn, reason: "test") }
      let events = try await turn.finished()
      let bytes = events.reduce(0) { sum, event in
        switch event.payload {
        case .itemStarted, .itemCompleted: sum + event.payload.logSize
        default: sum
        }
      }
      found.withLock { $0 = (bytes, events.ends.first) }
      // The session goes on.
      #expect(try await world.run("say on", key: "test:a").texts == ["on"])
    }
    return found.withLock { $0 }
  }

  @Test("a turn whose harness cannot be kept any more, for the disk takes no more, says so; what was said is whole")
  func spoolFails() async throws {
    try await World.run(.init(spool: 8 << 20)) { world in
      let turn = try await world.submit(.sdk("say one; gate go; long 5000000; say two", key: "test:a"))
      try await world.wait("test:a") { $0.isCommandStart }
      // No new segment can be made from here on.
      let sandbox = try #require(try await world.leftovers(of: "test:a").first)
      try FileManager.default.removeItem(atPath: "\(sandbox)/spool")
      try await world.open(gate: "go", of: "test:a")
      let events = try await turn.finished()
      #expect(events.ends == ["failed (spool_failed)"])
      #expect(events.texts == ["one"])
      #expect(try await world.run("say on", key: "test:a").texts == ["on"])
    }
  }

  @Test("a harness that prints one endless line is ended, and what it printed is not kept")
  func endlessLine() async throws {
    try await World.run(.init(harnessLine: 8 << 20)) { world in
      let events = try await world.run("long 1000000000; say one", key: "test:a")
      #expect(events.ends == ["failed (harness_line_too_long)"])
      #expect(try await world.run("say on", key: "test:a").texts == ["on"])
      // Only the process that serves the session now has files.
      #expect(try await world.leftovers(of: "test:a").count == 1)
    }
  }

  @Test("a harness that wants to be ended in a turn fails it, and is replaced")
  func stops() async throws {
    try await World.run { world in
      let stopped = try await world.run("stop", key: "test:a")
      #expect(stopped.ends == ["failed (harness_died)"])
      #expect(try await world.run("say on", key: "test:a").texts == ["on"])
    }
  }

  @Test(
    "a turn that runs longer than its limit ends with an error of its own, whether the harness obeys or not",
    arguments: ["say one; hold", "deaf; say one; hold"])
  func timeLimit(_ text: String) async throws {
    try await World.run(.init(turn: .milliseconds(300))) { world in
      let first = try await world.run(text, key: "test:a")
      #expect(first.ends == ["failed (turn_time_limit)"])
      // The next turn has a limit of its own.
      #expect(try await world.run("say on", key: "test:a").ends == ["completed"])
      #expect(try await world.run(text, key: "test:a").ends == ["failed (turn_time_limit)"])
    }
  }
}
