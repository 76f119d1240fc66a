import ControlPlane
import SessionModel
import Testing

/// What the session API may rely on: opening, adding messages and executing are safe to repeat, and contradictions are
/// refused.
struct SessionAPIRulesTests {
  @Test("a message that waited for the first turn is its input, and is not told as the past as well")
  func firstTurn() async throws {
    try await World.run { world in
      let key = try ThreadKey("test:a")
      _ = try await world.controlPlane.openSession(
        owner: .local, key: key, harness: nil, persona: nil, instructions: nil, origin: "session_api")
      _ = try await world.controlPlane.append(.said("say kept"), owner: .local, key: key)
      let turn = try await world.controlPlane.execute(.sdk("recall", key: "test:a"), key: key)
      #expect(try await turn.finished().texts == ["kept", ""])
    }
  }

  private static let other = HarnessName(rawValue: "other")

  private static func run(_ body: @Sendable (World, ThreadKey) async throws -> Void) async throws {
    try await World.run(
      harnesses: [.init(name: World.scripted), .init(name: other)],
      personas: ["clerk": .init(harness: other), "judge": .init()]
    ) { world in try await body(world, ThreadKey("test:a")) }
  }

  private static func open(
    _ world: World, _ key: ThreadKey, harness: HarnessName? = nil, persona: String? = nil
  ) async throws -> (session: Session, isNew: Bool) {
    try await world.controlPlane.openSession(
      owner: .local, key: key, harness: harness, persona: persona, instructions: nil, origin: "session_api")
  }

  private static func execute(
    _ world: World, _ key: ThreadKey, _ input: [Message] = [], _ change: (inout TurnRequest) -> Void = { _ in }
  ) async throws -> AdmittedTurn {
    let request = try TurnRequest.sdk("", key: "test:a").with { request in
      request.input = input
      change(&request)
    }
    return try await within { try await world.controlPlane.execute(request, key: key) }
  }

  private static func code(_ body: () async throws -> Void) async -> CentaurError.Code? {
    do { try await body() } catch { return (error as? CentaurError)?.code }
    return nil
  }

  @Test("opening a session again finds it; another harness or persona is a conflict")
  func open() async throws {
    try await Self.run { world, key in
      let (session, isNew) = try await Self.open(world, key, persona: "clerk")
      #expect(isNew)
      #expect(session.harness == Self.other)
      let again = try await Self.open(world, key)
      #expect(again.session.id == session.id)
      #expect(!again.isNew)
      #expect(try await !Self.open(world, key, harness: Self.other, persona: "clerk").isNew)
      #expect(await Self.code { _ = try await Self.open(world, key, harness: World.scripted) } == .harnessConflict)
      #expect(await Self.code { _ = try await Self.open(world, key, persona: "judge") } == .personaConflict)
      #expect(try await world.kinds("test:a") == ["session.created"])
    }
  }

  @Test("an unknown harness or persona is refused, and no session is made")
  func unknownWishes() async throws {
    try await Self.run { world, key in
      let nobody = HarnessName(rawValue: "nobody")
      #expect(await Self.code { _ = try await Self.open(world, key, harness: nobody) } == .unknownHarness)
      #expect(await Self.code { _ = try await Self.open(world, key, persona: "nobody") } == .unknownPersona)
      let request = try TurnRequest.sdk("say one", key: "test:a")
      #expect(await Self.code { _ = try await world.submit(request.with { $0.harness = nobody }) } == .unknownHarness)
      #expect(try await world.store.session(owner: .local, key: key) == nil)
    }
  }

  @Test("a request that wishes for another harness than its session has is refused")
  func submitConflict() async throws {
    try await Self.run { world, _ in
      _ = try await world.run("say one", key: "test:a")
      let request = try TurnRequest.sdk("say two", key: "test:a").with { $0.harness = Self.other }
      #expect(await Self.code { _ = try await world.submit(request) } == .harnessConflict)
      #expect(try await world.log("test:a").started.count == 1)
    }
  }

  @Test("nothing can be done with a session that is not there, and asking does not make it")
  func notFound() async throws {
    try await Self.run { world, key in
      let plane = world.controlPlane
      #expect(await Self.code { _ = try await plane.session(owner: .local, key: key) } == .sessionNotFound)
      #expect(await Self.code { _ = try await plane.append(.said("x"), owner: .local, key: key) } == .sessionNotFound)
      #expect(await Self.code { _ = try await Self.execute(world, key, [.said("x")]) } == .sessionNotFound)
      #expect(await Self.code { _ = try await plane.events(owner: .local, key: key, after: 0) } == .sessionNotFound)
      #expect(
        await Self.code { _ = try await plane.interrupt(owner: .local, key: key, reason: "x") } == .sessionNotFound)
      let made = try await world.store.session(owner: .local, key: key)
      #expect(made == nil)
    }
  }

  @Test("a message with an id is added once; another one under its id is a conflict")
  func append() async throws {
    try await Self.run { world, key in
      _ = try await Self.open(world, key)
      let plane = world.controlPlane
      let first = try await plane.append(.said("say one", "m1"), owner: .local, key: key)
      let again = try await plane.append(.said("say one", "m1"), owner: .local, key: key)
      #expect(again == first)
      #expect(
        await Self.code { _ = try await plane.append(.said("say no", "m1"), owner: .local, key: key) }
          == .idempotencyConflict)
      _ = try await plane.append(.said("say two"), owner: .local, key: key)
      _ = try await plane.append(.said("say two"), owner: .local, key: key)
      let turn = try await Self.execute(world, key)
      #expect(try await turn.finished().texts == ["one", "two", "two"])
    }
  }

  @Test("a turn takes the messages that wait and those that come along, in order, and once")
  func execute() async throws {
    try await Self.run { world, key in
      _ = try await Self.open(world, key)
      _ = try await world.controlPlane.append(.said("say one"), owner: .local, key: key)
      let turn = try await Self.execute(world, key, [.said("say two", "m2")])
      #expect(try await turn.finished().texts == ["one", "two"])
      #expect(await Self.code { _ = try await Self.execute(world, key) } == .emptyInput)
      let kinds = try await world.kinds("test:a").filter { $0 == "message.appended" }
      #expect(kinds.count == 2)
    }
  }

  @Test("an execute that is repeated under its key shows the same turn")
  func executeAgain() async throws {
    try await Self.run { world, key in
      _ = try await Self.open(world, key)
      let first = try await Self.execute(world, key, [.said("count done")]) { $0.turnKey = "key:k" }
      _ = try await first.finished()
      let again = try await Self.execute(world, key, [.said("count done")]) { $0.turnKey = "key:k" }
      #expect(again.isReplay)
      #expect(again.execution.id == first.execution.id)
      #expect(try await world.lines("done", of: "test:a").count == 1)
    }
  }

  @Test("an execute that is repeated is known by its message's id; another message under that id is a conflict")
  func executeSameMessage() async throws {
    try await Self.run { world, key in
      _ = try await Self.open(world, key)
      let first = try await Self.execute(world, key, [.said("count done", "m1")])
      _ = try await first.finished()
      let again = try await Self.execute(world, key, [.said("count done", "m1")])
      #expect(again.isReplay)
      #expect(again.execution.id == first.execution.id)
      #expect(await Self.code { _ = try await Self.execute(world, key, [.said("no", "m1")]) } == .idempotencyConflict)
      #expect(
        await Self.code { _ = try await world.controlPlane.append(.said("no", "m1"), owner: .local, key: key) }
          == .idempotencyConflict)
      #expect(try await world.lines("done", of: "test:a").count == 1)
      #expect(try await world.log("test:a").isDense)
    }
  }

  @Test("a message that waits already is not said twice when it comes along with the execute")
  func executeWaitingMessage() async throws {
    try await Self.run { world, key in
      _ = try await Self.open(world, key)
      _ = try await world.controlPlane.append(.said("count done", "m1"), owner: .local, key: key)
      let turn = try await Self.execute(world, key, [.said("count done", "m1"), .said("say one", "m2")])
      #expect(try await turn.finished().texts == ["one"])
      #expect(try await world.lines("done", of: "test:a").count == 1)
    }
  }

  @Test("an execute waits for the turn that runs, takes its place, or is refused, as it asks")
  func busy() async throws {
    try await Self.run { world, key in
      _ = try await Self.open(world, key)
      let first = try await Self.execute(world, key, [.said("say holding; hold")])
      try await world.wait("test:a") { $0.isMessage("holding") }
      #expect(
        await Self.code { _ = try await Self.execute(world, key, [.said("no")]) { $0.busy = .reject } } == .sessionBusy)
      let second = try await Self.execute(world, key, [.said("say two")])
      let third = try await Self.execute(world, key, [.said("say three")]) { $0.busy = .supersede }
      #expect(try await third.finished().texts == ["three"])
      #expect(try await first.finished().ends == ["cancelled (superseded)"])
      #expect(try await second.finished().ends == ["cancelled (superseded)"])
    }
  }

  @Test("messages wait across a restart of the server")
  func restart() async throws {
    try await Self.run { world, key in
      let node = world.startServer("node-2")
      _ = try await node.controlPlane.openSession(
        owner: .local, key: key, harness: nil, persona: nil, instructions: nil, origin: "session_api")
      _ = try await node.controlPlane.append(.said("say one", "m1"), owner: .local, key: key)
      try await node.shutDown()
      _ = try await world.controlPlane.append(.said("say one", "m1"), owner: .local, key: key)
      _ = try await world.controlPlane.append(.said("say two", "m2"), owner: .local, key: key)
      #expect(try await Self.execute(world, key).finished().texts == ["one", "two"])
      #expect(await Self.code { _ = try await Self.execute(world, key) } == .emptyInput)
    }
  }

  @Test("owners do not see one another's sessions")
  func owners() async throws {
    try await Self.run { world, key in
      _ = try await world.run("say one", key: "test:a")
      let stranger = Owner(rawValue: "stranger")
      #expect(
        await Self.code { _ = try await world.controlPlane.session(owner: stranger, key: key) } == .sessionNotFound)
      let turn = try await world.submit(.sdk("recall", key: "test:a").with { $0.owner = stranger })
      #expect(try await turn.finished().texts == [""])
    }
  }
}
