import ControlPlane
import SessionModel
import Testing

/// How many turns of one key may be open: the one too many is refused and changes nothing, and what is asked again is not
/// one too many.
struct TurnAllowanceTests {
  private static func code(_ body: () async throws -> Void) async -> CentaurError.Code? {
    do {
      try await body()
      return nil
    } catch { return (error as? CentaurError)?.code }
  }

  private static func submit(
    _ world: World, _ request: TurnRequest, _ allowance: TurnAllowance?
  ) async throws -> AdmittedTurn {
    try await within { try await world.controlPlane.submit(request, within: allowance) }
  }

  @Test("turns are let in up to the limit, over all sessions of the key, and again when one is over")
  func limit() async throws {
    try await World.run { world in
      let allowance = TurnAllowance(limit: 2)
      let first = try await Self.submit(world, .sdk("gate go", key: "test:a"), allowance)
      try await world.wait("test:a") { $0.isCommandStart }
      let second = try await Self.submit(world, .sdk("say two", key: "test:a"), allowance)
      #expect(
        await Self.code { _ = try await Self.submit(world, .sdk("say three", key: "test:b"), allowance) }
          == .keyTurnLimit)
      // Nothing was made, and somebody else is not bound by it.
      #expect(try await world.store.session(owner: .local, key: ThreadKey("test:b")) == nil)
      _ = try await Self.submit(world, .sdk("say other", key: "test:c"), TurnAllowance(limit: 1)).finished()
      _ = try await Self.submit(world, .sdk("say nobody's", key: "test:d"), nil).finished()
      try await world.open(gate: "go", of: "test:a")
      _ = try await first.finished()
      _ = try await second.finished()
      #expect(try await Self.submit(world, .sdk("say three", key: "test:b"), allowance).finished().texts == ["three"])
    }
  }

  @Test("a retry at the limit finds its turn")
  func retry() async throws {
    try await World.run { world in
      let allowance = TurnAllowance(limit: 1)
      let request = try TurnRequest.cli([.said("say on; hold", "m1")], key: "test:a", turn: "t1")
      let first = try await Self.submit(world, request, allowance)
      let again = try await Self.submit(world, request, allowance)
      #expect(again.isReplay)
      #expect(again.execution.id == first.execution.id)
    }
  }

  @Test("a turn that takes another one's place is not one more, and one that waits behind it is")
  func supersede() async throws {
    try await World.run { world in
      let allowance = TurnAllowance(limit: 1)
      let first = try await Self.submit(
        world, .cli([.said("say holding; hold", "m1")], key: "test:a", turn: "t1"), allowance)
      try await world.wait("test:a") { $0.isMessage("holding") }
      #expect(
        await Self.code { _ = try await Self.submit(world, .sdk("say no", key: "test:a"), allowance) }
          == .keyTurnLimit)
      let second = try await Self.submit(world, .cli([.said("say two", "m2")], key: "test:a", turn: "t2"), allowance)
      #expect(try await first.finished().ends == ["cancelled (superseded)"])
      #expect(try await second.finished().texts == ["two"])
    }
  }

  @Test(
    "a steering message that its turn refuses is one more turn: at the limit its client is told, and nothing is run")
  func refusedSteer() async throws {
    try await World.run { world in
      let allowance = TurnAllowance(limit: 1)
      let first = try await Self.submit(
        world, .sdk("steering refused; say holding; hold", key: "test:a"), allowance)
      try await world.wait("test:a") { $0.isMessage("holding") }
      let steer = try TurnRequest.sdk("count done; say late", key: "test:a").with { $0.busy = .steer }
      #expect(await Self.code { _ = try await Self.submit(world, steer, allowance) } == .keyTurnLimit)
      _ = try await world.controlPlane.interrupt(owner: .local, key: ThreadKey("test:a"), reason: "test")
      _ = try await first.finished()
      #expect(try await world.log("test:a").started == [first.execution.id])
      #expect(try await Self.submit(world, steer, allowance).finished().texts == ["late"])
      #expect(try await world.lines("done", of: "test:a").count == 1)
      // One more than the limit does not stay counted.
      #expect(try await Self.submit(world, .sdk("say on", key: "test:a"), allowance).finished().texts == ["on"])
    }
  }

  @Test("a turn that was refused for another reason takes no place")
  func refused() async throws {
    try await World.run { world in
      let allowance = TurnAllowance(limit: 1)
      let foreign = try TurnRequest.sdk("say no", key: "test:a").with { $0.harness = HarnessName(rawValue: "nobody") }
      for _ in 0..<3 {
        #expect(await Self.code { _ = try await Self.submit(world, foreign, allowance) } == .unknownHarness)
      }
      #expect(try await Self.submit(world, .sdk("say yes", key: "test:a"), allowance).finished().texts == ["yes"])
    }
  }

  @Test("of many requests at once no more than the limit get through")
  func atOnce() async throws {
    try await World.run(.init(sandboxes: 8)) { world in
      let allowance = TurnAllowance(limit: 3)
      let codes = await withTaskGroup(of: CentaurError.Code?.self) { group in
        for number in 0..<8 {
          group.addTask {
            await Self.code { _ = try await Self.submit(world, .sdk("hold", key: "test:\(number)"), allowance) }
          }
        }
        return await group.reduce(into: []) { $0.append($1) }
      }
      #expect(codes.count { $0 == nil } == 3)
      #expect(codes.count { $0 == .keyTurnLimit } == 5)
    }
  }

  @Test("an execute by the session API is a turn too, and messages that wait are not lost by it")
  func execute() async throws {
    try await World.run { world in
      let allowance = TurnAllowance(limit: 1)
      _ = try await Self.submit(world, .sdk("say holding; hold", key: "test:a"), allowance)
      let key = try ThreadKey("test:b")
      _ = try await world.controlPlane.openSession(
        owner: .local, key: key, harness: nil, persona: nil, instructions: nil, origin: "test")
      _ = try await world.controlPlane.append(.said("say waited"), owner: .local, key: key)
      let request = TurnRequest(
        owner: .local, session: .key(key), client: .sdk, input: [], origin: "test", replyPrefix: "turn", echo: .null)
      #expect(
        await Self.code { _ = try await world.controlPlane.execute(request, key: key, within: allowance) }
          == .keyTurnLimit)
      let turn = try await world.controlPlane.execute(request, key: key, within: TurnAllowance(limit: 1))
      #expect(try await turn.finished().texts == ["waited"])
    }
  }
}
