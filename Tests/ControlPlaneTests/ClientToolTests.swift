import ControlPlane
import SessionModel
import Testing

/// A turn calls its client's tools and waits for them.
struct ClientToolTests {
  private static func outputs(
    _ turn: AdmittedTurn, _ said: [(ordinal: Int, text: String)], in key: String? = nil
  ) throws -> TurnRequest {
    TurnRequest(
      owner: .local, session: try key.map { .key(try ThreadKey($0)) } ?? .fresh, client: .sdk, input: [],
      outputs: said.map { ToolOutput(call: ClientCallID(turn.execution.id, $0.ordinal), parts: [.text($0.text)]) },
      origin: "test", replyPrefix: "resp", echo: .null)
  }

  private static func code(_ ask: () async throws -> AdmittedTurn) async -> CentaurError.Code? {
    do {
      _ = try await ask()
      return nil
    } catch { return (error as? CentaurError)?.code }
  }

  @Test("a turn waits, is told by the call alone, and goes on in a reply that begins behind the wait")
  func told() async throws {
    try await World.run { world in
      let turn = try await world.submit(.sdk("say asking; call look; say after", key: "test:a"))
      try await world.wait("test:a") { $0.kind == "execution.waiting" }
      let told = try await world.submit(Self.outputs(turn, [(2, "found")]))
      #expect(told.execution.id == turn.execution.id && !told.isReplay)
      #expect(told.reply.wireID == "resp_\(turn.execution.id)_2")
      let events = try await told.finished()
      #expect(events.first?.payload.kind == "execution.waiting" && events.first?.seq == told.reply.afterSeq)
      #expect(events.texts == ["told found", "after"])
      #expect(try await turn.finished().texts == ["asking", "told found", "after"])
      let again = try await world.submit(Self.outputs(turn, [(2, "found")]))
      #expect(again.isReplay && again.reply.wireID == told.reply.wireID)
      #expect(await Self.code { try await world.submit(Self.outputs(turn, [(2, "lost")])) } == .callClosed)
      #expect(await Self.code { try await world.submit(Self.outputs(turn, [(1, "found")])) } == .unknownCall)
      #expect(try await world.log("test:a").isDense)
    }
  }

  @Test("outputs for some of the calls that wait: the turn waits on for the rest, and goes on when it has all")
  func someOfThem() async throws {
    try await World.run { world in
      let turn = try await world.submit(.sdk("call one two three", key: "test:a"))
      try await world.wait("test:a") { $0.kind == "execution.waiting" }
      let second = try await world.submit(Self.outputs(turn, [(2, "b")], in: "test:a"))
      let log = try await world.log("test:a")
      guard case .executionWaiting(let left, _)? = log.last?.payload else {
        Issue.record("it does not wait on")
        return
      }
      #expect(left.map(\.id.ordinal) == [1, 3])
      #expect(try await world.store.execution(turn.execution.id)?.status == .waiting)
      // One that was told already is no matter beside those that are new.
      let third = try await world.submit(Self.outputs(turn, [(1, "a"), (2, "b"), (3, "c")]))
      #expect(third.reply.afterSeq == log.last?.seq)
      #expect(try await third.finished().texts == ["told b and a and c"])
      #expect(try await world.submit(Self.outputs(turn, [(2, "b")])).reply.wireID == second.reply.wireID)
    }
  }

  @Test("what is not an answer to the turn changes nothing: another's call, two turns' calls, one call twice")
  func refused() async throws {
    try await World.run { world in
      let turn = try await world.submit(.sdk("call one", key: "test:a"))
      let other = try await world.submit(.sdk("call one", key: "test:b"))
      for key in ["test:a", "test:b"] { try await world.wait(key) { $0.kind == "execution.waiting" } }
      let before = try await world.log("test:a")
      #expect(await Self.code { try await world.submit(Self.outputs(other, [(1, "x")], in: "test:a")) } == .unknownCall)
      #expect(
        await Self.code { try await world.submit(Self.outputs(turn, [(1, "x")], in: "test:new")) } == .unknownCall)
      let stranger = try Self.outputs(turn, [(1, "x")]).with { $0.owner = Owner(rawValue: "stranger") }
      #expect(await Self.code { try await world.submit(stranger) } == .unknownCall)
      let twice = try Self.outputs(turn, [(1, "x"), (1, "y")])
      #expect(await Self.code { try await world.submit(twice) } == .callClosed)
      let mixed = try Self.outputs(turn, [(1, "x")]).with {
        $0.outputs.append(ToolOutput(call: ClientCallID(other.execution.id, 1), parts: []))
      }
      #expect(await Self.code { try await world.submit(mixed) } == .unknownCall)
      let beside = try Self.outputs(turn, [(1, "x"), (9, "y")])
      #expect(await Self.code { try await world.submit(beside) } == .unknownCall)
      #expect(try await world.log("test:a") == before)
      #expect(try await world.submit(Self.outputs(turn, [(1, "x")])).finished().texts == ["told x"])
    }
  }

  @Test("a turn that waits goes on under the next server, also where that one is told before the harness is")
  func nextServer() async throws {
    try await World.run(hasServer: false) { world in
      let gone = world.startServer("node-2")
      let turn = try await gone.controlPlane.submit(.sdk("count done; call one; say after", key: "test:a"))
      try await world.wait("test:a", on: gone.controlPlane) { $0.kind == "execution.waiting" }
      try await gone.shutDown()
      #expect(try await world.store.execution(turn.execution.id)?.status == .waiting)
      let next = world.startServer("node-3")
      let told = try await next.controlPlane.submit(Self.outputs(turn, [(1, "x")]))
      #expect(try await told.finished().texts == ["told x", "after"])
      #expect(try await world.lines("done", of: "test:a").count == 1)
      #expect(try await world.log("test:a").ends == ["completed"])
      try await next.shutDown()
    }
  }

  @Test("a wait has its limit, also over a restart, and the time of a wait is not the turn's")
  func limits() async throws {
    try await World.run(.init(turn: .seconds(60), toolWait: .milliseconds(300)), hasServer: false) { world in
      let first = world.startServer("node-2")
      let turn = try await first.controlPlane.submit(.sdk("call one", key: "test:a"))
      try await world.wait("test:a", on: first.controlPlane) { $0.kind == "execution.waiting" }
      try await first.shutDown()
      let next = world.startServer("node-3")
      #expect(try await world.waitForEnds(1, of: "test:a").ends == ["failed (tool_wait_limit)"])
      #expect(await Self.code { try await next.controlPlane.submit(Self.outputs(turn, [(1, "x")])) } == .callClosed)
      try await next.shutDown()
    }
  }

  @Test("a turn that waits long gives its sandbox to one that has none, and only then")
  func yields() async throws {
    try await World.run(.init(toolHold: .milliseconds(50), sandboxes: 1)) { world in
      let turn = try await world.submit(.sdk("call one; say on", key: "test:a"))
      try await world.wait("test:a") { $0.kind == "execution.waiting" }
      #expect(try await world.submit(Self.outputs(turn, [(1, "x")])).finished().texts == ["told x", "on"])
      let left = try await world.submit(.sdk("call one", key: "test:a"))
      try await world.wait("test:a") { event in
        if case .executionWaiting(let calls, _) = event {
          calls.first?.id.execution == left.execution.id
        } else {
          false
        }
      }
      #expect(try await world.run("say mine", key: "test:b").texts == ["mine"])
      #expect(try await left.finished().ends == ["failed (tool_wait_limit)"])
      #expect(try await world.run("say back", key: "test:a").texts == ["back"])
    }
  }

  @Test("more functions than a request may offer are refused")
  func tooMany() async throws {
    try await World.run(.init(tools: 2)) { world in
      let requests = try [2, 3].map { count in
        try TurnRequest.sdk("say yes", key: "test:a").with {
          $0.options.tools = (0..<count).map { ClientTool(name: "f\($0)") }
        }
      }
      #expect(await Self.code { try await world.submit(requests[1]) } == .tooManyTools)
      #expect(try await world.submit(requests[0]).finished().texts == ["yes"])
    }
  }
}
