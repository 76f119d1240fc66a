import ControlPlane
import SessionModel
import Testing

/// A client copied its conversation and goes on under another name.
struct ForkTests {
  /// A parent with two turns, `m1` → "one" and `m2` → "two".
  private static func parent(_ world: World) async throws -> [AdmittedTurn] {
    var turns: [AdmittedTurn] = []
    for (number, text) in ["one", "two"].enumerated() {
      let turn = try await world.submit(
        .cli([.said("say \(text)", "m\(number + 1)")], key: "test:parent", turn: "t\(number + 1)"))
      _ = try await turn.finished()
      turns.append(turn)
    }
    return turns
  }

  private static func fork(_ input: [Message], holding ids: [String]) throws -> TurnRequest {
    let parent = try ThreadKey("test:parent")
    return try TurnRequest.cli(input, key: "test:fork", turn: "t9").with { request in
      request.fork = .init(parent: parent, heldItemIDs: ids)
      request.hasHistory = true
      request.history = { [.said("as the client tells it", "m0")] }
    }
  }

  @Test("a fork begins with its parent's conversation up to the last item that the client holds")
  func cut() async throws {
    try await World.run { world in
      let turns = try await Self.parent(world)
      let held = "msg_\(turns[0].execution.id)_1"
      let turn = try await world.submit(Self.fork([.said("recall", "m3")], holding: ["msg_unknown_1", held]))
      #expect(try await turn.finished().texts == ["user: say one | assistant: one"])
      let log = try await world.log("test:fork")
      let closed = try #require(try await world.log("test:parent").first { $0.payload.isMessage("one") })
      #expect(log[1].payload == .sessionForked(from: try ThreadKey("test:parent"), atSeq: closed.seq))
      // The parent goes on as if nothing had been.
      #expect(try await world.run("recall", key: "test:parent").texts == ["say one | say two"])
    }
  }

  @Test("a fork of the whole conversation has all of it")
  func whole() async throws {
    try await World.run { world in
      let turns = try await Self.parent(world)
      let held = turns.map { "msg_\($0.execution.id)_1" }
      let turn = try await world.submit(Self.fork([.said("recall", "m3")], holding: held))
      #expect(
        try await turn.finished().texts == ["user: say one | assistant: one | user: say two | assistant: two"])
    }
  }

  @Test("what the client said after the point of the fork, and got no answer to, is told too")
  func unanswered() async throws {
    try await World.run { world in
      let turns = try await Self.parent(world)
      let input: [Message] = [.said("and by the way", "m7"), .said("recall", "m8")]
      let turn = try await world.submit(Self.fork(input, holding: ["msg_\(turns[0].execution.id)_1"]))
      #expect(
        try await turn.finished().texts == ["user: say one | assistant: one | user: and by the way"])
    }
  }

  @Test("where the parent or what the client holds of it is not known, the client's own telling counts")
  func unknown() async throws {
    try await World.run { world in
      let orphan = try Self.fork([.said("recall", "m3")], holding: ["msg_0_1"])
      #expect(try await world.submit(orphan).finished().texts == ["user: as the client tells it"])
    }
  }

  @Test("a fork runs its parent's harness")
  func harness() async throws {
    let other = HarnessName(rawValue: "other")
    try await World.run(harnesses: [.init(name: World.scripted), .init(name: other)]) { world in
      let parent = try await world.submit(.sdk("say one", key: "test:parent").with { $0.harness = other })
      _ = try await parent.finished()
      let held = "msg_\(parent.execution.id)_1"
      let turn = try await world.submit(Self.fork([.said("say two", "m3")], holding: [held]))
      #expect(turn.session.harness == other)
      _ = try await turn.finished()
    }
  }
}
