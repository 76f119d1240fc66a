import ControlPlane
import SessionModel
import Testing

/// Clients that name no session and send the whole conversation.
struct StatelessTests {
  private static func message(_ role: Message.Role, _ text: String) -> Message {
    Message(role: role, parts: [.text(text)])
  }

  /// What such a client sends behind a history.
  private static func after(_ history: [Message], _ text: String) throws -> TurnRequest {
    try .sdk(text, key: "test:unused").with { request in
      request.session = .fresh
      request.hasHistory = !history.isEmpty
      request.history = { history }
    }
  }

  private static func run(_ world: World, _ history: [Message], _ text: String) async throws -> AdmittedTurn {
    let turn = try await world.submit(after(history, text))
    _ = try await turn.finished()
    return turn
  }

  @Test("a history that equals a session's head goes on there, however its pieces are joined")
  func head() async throws {
    try await World.run { world in
      let one = try await Self.run(world, [], "say one; say and more")
      let tellings = [
        [Self.message(.user, "say one; say and more"), Self.message(.assistant, "oneand more")],
        [
          Self.message(.user, "say one;"), Self.message(.user, "say and more\n"), Self.message(.assistant, "one\n"),
          Self.message(.assistant, " and more"),
        ],
      ]
      let two = try await Self.run(world, tellings[0], "say two")
      #expect(two.session.id == one.session.id)
      // The same history told in another way is now an older point.
      let branch = try await Self.run(world, tellings[1], "recall")
      #expect(branch.session.id != one.session.id)
      #expect(
        try await world.log(branch.session.key.rawValue).contains {
          if case .sessionForked(one.session.key, _) = $0.payload { true } else { false }
        })
      // What was brought along counts: the branch goes on, too.
      let longer =
        tellings[0] + [
          Self.message(.user, "recall"),
          Self.message(.assistant, try await branch.finished().texts.joined()),
        ]
      #expect(try await Self.run(world, longer, "say three").session.id == branch.session.id)
    }
  }

  @Test("a history without an answer of ours, or with one that differs, begins a session")
  func notOurs() async throws {
    try await World.run { world in
      let one = try await Self.run(world, [], "say one")
      for history in [
        [Self.message(.user, "say one")],
        [Self.message(.user, "say one"), Self.message(.assistant, "two")],
        [Self.message(.user, "say on"), Self.message(.assistant, "eone")],
        [Self.message(.user, "say one"), Self.message(.assistant, "one"), Self.message(.assistant, "!")],
      ] {
        let turn = try await Self.run(world, history, "recall")
        #expect(turn.session.id != one.session.id)
        #expect(try await world.log(turn.session.key.rawValue)[1].payload == .messageAppended(history[0]))
      }
    }
  }

  @Test("a turn that came to nothing changes no history: its client says the same again")
  func failed() async throws {
    try await World.run { world in
      let one = try await Self.run(world, [], "say one")
      let history = [Self.message(.user, "say one"), Self.message(.assistant, "one")]
      let failed = try await world.submit(Self.after(history, "exit 3"))
      #expect(failed.session.id == one.session.id)
      #expect(try await failed.finished().ends == ["failed (harness_died)"])
      #expect(try await Self.run(world, history, "say two").session.id == one.session.id)
      let longer = history + [Self.message(.user, "say two"), Self.message(.assistant, "two")]
      #expect(try await Self.run(world, longer, "say three").session.id == one.session.id)
    }
  }

  @Test("two sessions with one history are nobody's to go on in, and another owner's is not there at all")
  func ambiguous() async throws {
    try await World.run { world in
      let history = [Self.message(.user, "say one"), Self.message(.assistant, "one")]
      let one = try await Self.run(world, [], "say one")
      let other = Owner(rawValue: "somebody else")
      let foreign = try await world.submit(Self.after(history, "recall").with { $0.owner = other })
      #expect(foreign.session.id != one.session.id)
      #expect(try await foreign.finished().texts == ["user: say one | assistant: one"])
      let two = try await Self.run(world, [], "say one")
      let third = try await Self.run(world, history, "say two")
      #expect(![one.session.id, two.session.id].contains(third.session.id))
    }
  }

  @Test("an id of ours names its session, and what stands behind it is told; another owner's names none")
  func ids() async throws {
    try await World.run { world in
      let one = try await Self.run(world, [], "say one")
      let held = TurnRequest.HeldItem(id: "msg_\(one.execution.id)_1") { [Self.message(.assistant, "elsewhere")] }
      let unknown = TurnRequest.HeldItem(id: "msg_0123456789abcdef0123456789abcdef_1") { [] }
      let request = try Self.after([Self.message(.assistant, "one")], "say two")
        .with { $0.heldItems = [held, unknown] }
      let foreign = try await world.submit(request.with { $0.owner = Owner(rawValue: "somebody else") })
      #expect(foreign.session.id != one.session.id)
      let two = try await world.submit(request)
      #expect(two.session.id == one.session.id)
      let told = try await two.finished().compactMap { event -> String? in
        if case .messageAppended(let message) = event.payload { "\(message.role): \(message.text)" } else { nil }
      }
      #expect(told == ["assistant: elsewhere", "user: say two"])
      #expect(try await world.submit(request).session.id != one.session.id, "an older point branches off")
    }
  }

  @Test("the next server goes on with the history, also of a turn that it takes over")
  func restart() async throws {
    try await World.run(hasServer: false) { world in
      let first = world.startServer("node-1")
      let turn = try await first.controlPlane.submit(Self.after([], "say one; gate g; say more"))
      let key = turn.session.key.rawValue
      try await world.wait(key, on: first.controlPlane) { $0.isCommandStart }
      try await first.shutDown()
      let second = world.startServer("node-2")
      try await world.open(gate: "g", of: key)
      _ = try await world.waitForEnds(1, of: key)
      let history = [Self.message(.user, "say one; gate g; say more"), Self.message(.assistant, "one more")]
      let next = try await second.controlPlane.submit(Self.after(history, "say two"))
      #expect(next.session.id == turn.session.id)
      try await second.shutDown()
    }
  }
}
