import ControlPlane
import SessionModel
import Testing

/// The store fails: nothing is shown that is not stored, and the session is whole again afterwards.
struct StoreFaultTests {
  @Test("a fault in the middle of a turn gives the session up; the next request opens it from the log, which is whole")
  func midTurn() async throws {
    try await World.run { world in
      let request = try TurnRequest.cli(
        [.said("say one; open half; gate go; say two", "m1")], key: "test:a", turn: "t1")
      let turn = try await world.submit(request)
      try await world.wait("test:a") { $0.isCommandStart }
      let shims = try await world.shims(of: "test:a")
      #expect(shims.count == 1)
      world.store.fail(.commit)
      try await world.open(gate: "go", of: "test:a")
      // Who reads the turn sees its stream end without the turn's end: it comes back and asks again.
      await #expect(throws: NoEnd.self) { try await turn.finished() }
      world.store.heal()
      let again = try await world.submit(request)
      #expect(again.execution.id == turn.execution.id)
      let events = try await again.finished()
      #expect(events.ends == ["failed (server_restarted)"])
      #expect(events.texts == ["one", "half"])
      #expect(try await world.run("say on", key: "test:a").texts == ["on"])
      let log = try await world.log("test:a")
      #expect(log.isDense)
      #expect(log.ends == ["failed (server_restarted)", "completed"])
      // The process of before is gone.
      #expect(try await Set(world.shims(of: "test:a")).isDisjoint(with: shims))
    }
  }

  @Test("a fault at any commit of a turn leaves a log that a retry brings to its one end", arguments: 0..<5)
  func anyCommit(_ number: Int) async throws {
    try await World.run { world in
      let request = try TurnRequest.cli([.said("count done; say one", "m1")], key: "test:a", turn: "t1")
      world.store.fail(.commit, after: number)
      var end: [SessionEvent]?
      if let turn = try? await world.submit(request) { end = try? await turn.finished() }
      world.store.heal()
      if end == nil { end = try await world.submit(request).finished() }
      #expect(["completed", "failed (server_restarted)"].contains(end?.ends.first))
      let log = try await world.log("test:a")
      #expect(log.isDense)
      #expect(log.ends.count == 1)
      #expect(try await world.lines("done", of: "test:a").count <= 1)
      #expect(try await world.run("say on", key: "test:a").texts == ["on"])
    }
  }
}
