import ControlPlane
import SessionModel
import Testing

/// A client goes on from a response: at the session's head in the session, from an older one in a session of its own.
struct BranchTests {
  private static func after(_ turn: AdmittedTurn, _ text: String) throws -> TurnRequest {
    try .sdk(text, key: "test:unused").with { $0.session = .continuing(replyID: turn.reply.wireID) }
  }

  private static func turn(_ world: World, _ text: String, after turn: AdmittedTurn? = nil) async throws -> AdmittedTurn
  {
    let request = try turn.map { try after($0, text) } ?? .sdk(text, key: "test:parent")
    let admitted = try await world.submit(request)
    _ = try await admitted.finished()
    return admitted
  }

  @Test("at the head it goes on; from an older response it branches off with the conversation up to there")
  func branches() async throws {
    try await World.run { world in
      let one = try await Self.turn(world, "say one")
      let two = try await Self.turn(world, "say two", after: one)
      #expect(two.session.key == one.session.key)
      let branch = try await world.submit(Self.after(one, "recall"))
      #expect(branch.session.key != one.session.key)
      #expect(try await branch.finished().texts == ["user: say one | assistant: one"])
      let log = try await world.log(branch.session.key.rawValue)
      let end = try #require(try await world.store.execution(one.execution.id)?.terminalSeq)
      #expect(log[1].payload == .sessionForked(from: one.session.key, atSeq: end))
      #expect(log.contains { if case .warning("workspace_not_forked", _) = $0.payload { true } else { false } })
      // The parent goes on as if nothing had been, and so does the branch.
      #expect(try await Self.turn(world, "recall", after: two).session.key == one.session.key)
      #expect(try await Self.turn(world, "say three", after: branch).session.key == branch.session.key)
    }
  }

  @Test("a branch has the instructions, the persona and the harness of its parent")
  func inherits() async throws {
    let other = HarnessName(rawValue: "other")
    let personas = ["judge": ControlPlaneConfiguration.Persona(harness: other, instructions: "Judge.")]
    try await World.run(harnesses: [.init(name: World.scripted), .init(name: other)], personas: personas) { world in
      let one = try await world.submit(
        .sdk("say one", key: "test:parent").with {
          $0.persona = "judge"
          $0.instructions = "Be brief."
        })
      _ = try await one.finished()
      _ = try await Self.turn(world, "say two", after: one)
      let branch = try await Self.turn(world, "say three", after: one)
      #expect(branch.session.harness == other)
      #expect(branch.session.persona == "judge")
      #expect(branch.session.instructions == "Be brief.")
      let own = try await world.submit(Self.after(one, "say four").with { $0.instructions = "Be long." })
      _ = try await own.finished()
      #expect(own.session.instructions == "Be long.")
    }
  }

  @Test("turns that came to nothing are no head: the response before them is gone on from in its session")
  func afterFailure() async throws {
    try await World.run { world in
      let one = try await Self.turn(world, "say one")
      let two = try await world.submit(Self.after(one, "hold"))
      try await world.controlPlane.end(two, reason: "cancelled")
      _ = try await two.finished()
      #expect(try await Self.turn(world, "say two", after: one).session.key == one.session.key)
    }
  }

  @Test("two that go on from one response at once: the first has the session, the second branches off")
  func atOnce() async throws {
    try await World.run { world in
      let one = try await Self.turn(world, "say one")
      async let first = Self.turn(world, "say two", after: one)
      async let second = Self.turn(world, "say three", after: one)
      let keys = try await [first.session.key, second.session.key]
      #expect(Set(keys).count == 2)
      #expect(keys.contains(one.session.key))
    }
  }

  @Test("a running response is waited for by the first who goes on from it; the next is told to come back")
  func running() async throws {
    try await World.run { world in
      let one = try await world.submit(.sdk("gate g; say one", key: "test:parent"))
      let two = try await world.submit(Self.after(one, "say two"))
      #expect(two.session.key == one.session.key)
      await #expect(throws: CentaurError.self) { try await world.submit(Self.after(one, "say three")) }
      try await world.wait("test:parent") { if case .executionStarted = $0 { true } else { false } }
      try await world.open(gate: "g", of: "test:parent")
      #expect(try await two.finished().texts == ["two"])
      // What was asked behind it while it ran is no part of what it is the end of.
      let branch = try await world.submit(Self.after(one, "recall"))
      let texts = try await branch.finished().texts
      #expect(texts.count == 1 && texts[0].hasSuffix("assistant: one"), "\(texts)")
    }
  }

  @Test("a branch that is asked for again under its name is shown, not made twice")
  func again() async throws {
    try await World.run { world in
      let one = try await Self.turn(world, "say one")
      let two = try await Self.turn(world, "say two", after: one)
      let request = try Self.after(one, "say three").with { $0.turnKey = "key:k" }
      let first = try await world.submit(request)
      let again = try await world.submit(request)
      #expect(again.isReplay)
      #expect(again.reply.wireID == first.reply.wireID)
      _ = try await first.finished()
      // So is one at the head, when the session has gone on.
      let head = try Self.after(two, "say four").with { $0.turnKey = "key:h" }
      let four = try await world.submit(head)
      _ = try await four.finished()
      _ = try await Self.turn(world, "say five", after: four)
      #expect(try await world.submit(head).reply.wireID == four.reply.wireID)
    }
  }

  @Test("a response that is forgotten, not kept or another owner's is unknown, and its session goes on")
  func unknown() async throws {
    try await World.run { world in
      let one = try await Self.turn(world, "say one")
      let two = try await world.submit(Self.after(one, "say two").with { $0.keepsReply = false })
      _ = try await two.finished()
      func code(_ request: TurnRequest) async -> CentaurError.Code? {
        do {
          _ = try await world.submit(request)
          return nil
        } catch { return (error as? CentaurError)?.code }
      }
      #expect(try await code(Self.after(two, "x")) == .previousResponseNotFound)
      let atHand = try await world.submit(Self.after(two, "say three").with { $0.continuesUnkept = true })
      #expect(atHand.session.key == one.session.key)
      _ = try await atHand.finished()
      let foreign = Owner(rawValue: "somebody else")
      #expect(try await code(Self.after(one, "x").with { $0.owner = foreign }) == .previousResponseNotFound)
      try await world.controlPlane.forget(owner: .local, replyID: one.reply.wireID)
      #expect(try await code(Self.after(one, "x")) == .previousResponseNotFound)
      await #expect(throws: CentaurError.self) {
        try await world.controlPlane.forget(owner: .local, replyID: one.reply.wireID)
      }
      #expect(try await world.run("recall", key: "test:parent").texts == ["say one | say two | say three"])
    }
  }

  @Test("forgetting a response that is not over ends its turn")
  func forgetRunning() async throws {
    try await World.run { world in
      let turn = try await world.submit(.sdk("hold", key: "test:parent"))
      try await world.wait("test:parent") { if case .executionStarted = $0 { true } else { false } }
      try await world.controlPlane.forget(owner: .local, replyID: turn.reply.wireID)
      #expect(try await turn.finished().ends == ["cancelled (deleted)"])
    }
  }
}
