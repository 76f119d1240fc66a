import ControlPlane
import SessionModel
import Testing

/// A program hands its conversation from one agent to another, and the server dies on the way. Failed, the program's
/// repeated request is refused, or its second agent works twice.
struct HandoverTests {
  private static func offering(_ name: String, _ request: TurnRequest) -> TurnRequest {
    request.with { $0.options.tools = [ClientTool(name: name)] }
  }

  /// A turn that waits for the call by which its agent hands over, and the request that answers it.
  private static func handingOver(
    _ world: World, on plane: ControlPlane? = nil, says steps: String = "; count n; retold"
  ) async throws -> (first: AdmittedTurn, request: TurnRequest) {
    let asked = offering("transfer", try .sdk("call transfer", key: "test:a").with { $0.instructions = "A" })
    let first = try await (plane ?? world.controlPlane).submit(asked)
    try await world.wait("test:a", on: plane) { $0.kind == "execution.waiting" }
    let request = offering(
      "weather",
      TurnRequest(
        owner: .local, session: .continuing(replyID: first.reply.wireID), client: .sdk, input: [],
        outputs: [ToolOutput(call: ClientCallID(first.execution.id, 1), parts: [.text(steps)])],
        instructions: "B", origin: "test", replyPrefix: "resp", echo: .null))
    return (first, request)
  }

  @Test("wherever the store fails it, the repeated request is answered by one turn", arguments: 0...5)
  func storeFails(after commits: Int) async throws {
    try await World.run { world in
      let (first, request) = try await Self.handingOver(world)
      world.store.fail(.commit, after: commits)
      let admitted = try? await world.submit(request)
      if admitted == nil || commits == 0 {
        world.store.heal()
      } else {
        // The drive is given up by what comes behind the admission.
        _ = try? await admitted?.finished()
        world.store.heal()
      }
      let isOver = try await world.log("test:a").contains {
        $0.executionID == first.execution.id && $0.payload.isTerminal
      }
      #expect(admitted != nil || !isOver, "the first agent's turn ended, and nobody took over")
      let again = try await world.submit(request)
      #expect(try await again.finished().texts == ["B"])
      #expect(try await world.lines("n", of: "test:a") == ["x"])
      let log = try await world.waitForEnds(2, of: "test:a")
      #expect(log.ends(of: first) == ["cancelled (superseded)"])
      #expect(log.filter(\.payload.isQueued).count == 2)
      if let admitted { #expect(admitted.execution.id == again.execution.id) }
    }
  }

  @Test("a server that dies behind the admission leaves a turn that the next one runs, once")
  func nextServer() async throws {
    try await World.run(hasServer: false) { world in
      let gone = world.startServer("node-2")
      let (first, request) = try await Self.handingOver(world, on: gone.controlPlane)
      // It has the admission, and nothing behind it.
      world.store.fail(.commit, after: 1)
      let admitted = try await gone.controlPlane.submit(request)
      _ = try? await admitted.finished()
      world.store.heal()
      let next = world.startServer("node-3")
      let again = try await next.controlPlane.submit(request)
      #expect(again.execution.id == admitted.execution.id)
      #expect(try await again.finished().texts == ["B"])
      #expect(try await world.lines("n", of: "test:a") == ["x"])
      #expect(try await world.log("test:a").ends(of: first) == ["cancelled (superseded)"])
      try await gone.shutDown()
      try await next.shutDown()
    }
  }

  @Test("a turn that its user has cancelled hands nothing over, also under the next server")
  func cancelled() async throws {
    try await World.run(hasServer: false) { world in
      let gone = world.startServer("node-2")
      let (first, request) = try await Self.handingOver(world, on: gone.controlPlane)
      world.store.fail(.commit, after: 1)
      try? await gone.controlPlane.end(first, reason: "cancelled")
      world.store.heal()
      let next = world.startServer("node-3")
      var code: CentaurError.Code?
      do { _ = try await next.controlPlane.submit(request) } catch { code = (error as? CentaurError)?.code }
      #expect(code == .callClosed)
      _ = try await world.waitForEnds(1, of: "test:a")
      #expect(try await world.log("test:a").ends == ["cancelled (cancelled)"])
      try await gone.shutDown()
      try await next.shutDown()
    }
  }
}
