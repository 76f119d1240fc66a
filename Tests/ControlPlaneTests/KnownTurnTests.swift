import ControlPlane
import SessionModel
import Testing

/// A turn that is looked for by the id of its answer.
struct KnownTurnTests {
  private static func events(_ turn: AdmittedTurn) async throws -> [SessionEvent] {
    try await within {
      var events: [SessionEvent] = []
      for try await batch in turn.events { events += batch }
      return events
    }
  }

  @Test("a turn that is over is read from the log alone, whole and to its end, with no drive for its session")
  func over() async throws {
    try await World.run { world in
      let turn = try await world.submit(.sdk("say one", key: "test:a"))
      let finished = try await turn.finished()
      _ = try await world.run("say two", key: "test:a")
      for isFollowed in [true, false] {
        let found = try await world.controlPlane.turn(
          owner: .local, replyID: turn.reply.wireID, isFollowed: isFollowed)
        #expect(found.execution.status == .completed)
        #expect(found.reply == turn.reply)
        let events = try await Self.events(found)
        #expect(events.filter { $0.executionID == turn.execution.id } == finished)
      }
    }
  }

  @Test("one that runs is given as far as it has come, or followed to its end")
  func running() async throws {
    try await World.run { world in
      let turn = try await world.submit(.sdk("say one; gate go; say two", key: "test:a"))
      try await world.wait("test:a") { $0.isCommandStart }
      let id = turn.reply.wireID
      let soFar = try await Self.events(world.controlPlane.turn(owner: .local, replyID: id, isFollowed: false))
      #expect(soFar.texts == ["one"])
      let followed = try await world.controlPlane.turn(owner: .local, replyID: id, isFollowed: true)
      try await world.open(gate: "go", of: "test:a")
      #expect(try await followed.finished().texts == ["one", "two"])
    }
  }

  @Test("an id that was never given, or another owner's, is not found")
  func unknown() async throws {
    try await World.run { world in
      let turn = try await world.submit(.sdk("say one", key: "test:a"))
      _ = try await turn.finished()
      for (owner, id) in [(Owner.local, "resp_none_1"), (Owner(rawValue: "stranger"), turn.reply.wireID)] {
        let error = await #expect(throws: CentaurError.self) {
          try await world.controlPlane.turn(owner: owner, replyID: id, isFollowed: true)
        }
        #expect(error?.code == .responseNotFound)
      }
    }
  }
}
