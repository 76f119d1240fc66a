import SessionModel
import Testing

@testable import ControlPlane

/// A turn for which no sandbox comes free in time: it fails, and whoever asks again is not told of that failure.
struct SandboxWaitTests {
  private static let limits = ControlPlaneConfiguration.Limits(sandboxes: 1, sandboxWait: .milliseconds(100))

  /// Keeps the one sandbox busy until the gate `go` of `test:busy` is opened.
  private static func occupy(_ world: World) async throws -> AdmittedTurn {
    let busy = try await world.submit(.sdk("gate go", key: "test:busy"))
    try await world.wait("test:busy") { $0.isCommandStart }
    return busy
  }

  private static func free(_ world: World, _ busy: AdmittedTurn) async throws {
    try await world.open(gate: "go", of: "test:busy")
    #expect(try await busy.finished().ends == ["completed"])
  }

  /// Asks as clients do: again, as long as there is no sandbox.
  private static func ask(_ submit: () async throws -> AdmittedTurn) async throws -> AdmittedTurn {
    while true {
      let turn = try await submit()
      if try await turn.finished().ends != ["failed (no_free_sandbox)"] { return turn }
    }
  }

  @Test("a turn waits for a sandbox no longer than it may, and says that it will be waiting")
  func fails() async throws {
    try await World.run(Self.limits) { world in
      let busy = try await Self.occupy(world)
      #expect(!busy.waitsForPlace)
      let turn = try await world.submit(.sdk("say two", key: "test:a"))
      #expect(turn.waitsForPlace)
      #expect(try await turn.finished().ends == ["failed (no_free_sandbox)"])
      try await Self.free(world, busy)
      let later = try await Self.ask { try await world.submit(.sdk("say three", key: "test:a")) }
      #expect(try await later.finished().texts == ["three"])
      #expect(try await world.log("test:a").sandboxes == [.cold])
    }
  }

  @Test("a CLI's retry is run anew, once; one after that is shown the same turn")
  func cli() async throws {
    try await World.run(Self.limits) { world in
      let busy = try await Self.occupy(world)
      let request = try TurnRequest.cli([.said("count done; recall", "m1")], key: "test:a", turn: "t1")
      let first = try await world.submit(request)
      #expect(try await first.finished().ends == ["failed (no_free_sandbox)"])
      let second = try await world.submit(request)
      #expect(second.execution.id != first.execution.id)
      #expect(try await second.finished().ends == ["failed (no_free_sandbox)"])
      try await Self.free(world, busy)
      let third = try await Self.ask { try await world.submit(request) }
      // What was asked in vain was not said.
      #expect(try await third.finished().texts == [""])
      let fourth = try await world.submit(request)
      #expect(fourth.isReplay)
      #expect(fourth.execution.id == third.execution.id)
      #expect(try await world.lines("done", of: "test:a").count == 1)
      #expect(try await world.log("test:a").ends(of: third) == ["completed"])
      let added = request.with { $0.input.append(.said("say more", "m2")) }
      #expect(try await world.submit(added).finished().texts == ["more"])
    }
  }

  @Test("a program's retry under its own name for the turn is run anew, once")
  func sdk() async throws {
    try await World.run(Self.limits) { world in
      let busy = try await Self.occupy(world)
      let request = try TurnRequest.sdk("count done; say one", key: "test:a").with { $0.turnKey = "key:1" }
      #expect(try await world.submit(request).finished().ends == ["failed (no_free_sandbox)"])
      try await Self.free(world, busy)
      let second = try await Self.ask { try await world.submit(request) }
      #expect(try await second.finished().texts == ["one"])
      let third = try await world.submit(request)
      #expect(third.isReplay)
      #expect(third.execution.id == second.execution.id)
      #expect(try await world.lines("done", of: "test:a").count == 1)
    }
  }

  @Test("messages that waited for the turn wait for the next one, also after a restart")
  func pending() async throws {
    try await World.run(Self.limits, hasServer: false) { world in
      let node = world.startServer("node-2")
      let busy = try await node.controlPlane.submit(.sdk("hold", key: "test:busy"))
      try await world.wait("test:busy", on: node.controlPlane) {
        if case .executionStarted = $0 { true } else { false }
      }
      let key = try ThreadKey("test:a")
      _ = try await node.controlPlane.openSession(
        owner: .local, key: key, harness: nil, persona: nil, instructions: nil, origin: "session_api")
      _ = try await node.controlPlane.append(.said("say kept"), owner: .local, key: key)
      let execute = try TurnRequest.sdk("say asked", key: "test:a").with { $0.turnKey = "key:1" }
      let first = try await node.controlPlane.execute(execute, key: key)
      #expect(try await first.finished().ends == ["failed (no_free_sandbox)"])
      try await node.shutDown()
      #expect(try await world.log("test:busy").ends(of: busy) == [])
      let next = world.startServer("node-3")
      try await world.wait("test:busy", on: next.controlPlane) { $0.isReattached }
      _ = try await next.controlPlane.interrupt(owner: .local, key: ThreadKey("test:busy"), reason: "interrupted")
      let second = try await Self.ask { try await next.controlPlane.execute(execute, key: key) }
      #expect(try await second.finished().texts == ["kept", "asked"])
      try await next.shutDown()
    }
  }

  @Test("one whose client goes away before it has waited too long is cancelled, as ever")
  func cancelled() async throws {
    try await World.run(.init(sandboxes: 1, sandboxWait: .seconds(300))) { world in
      let busy = try await Self.occupy(world)
      let turn = try await world.submit(.sdk("say two", key: "test:a"))
      await world.controlPlane.cancel(turn, reason: "client_disconnected")
      #expect(try await turn.finished().ends == ["cancelled (client_disconnected)"])
      try await Self.free(world, busy)
    }
  }
}
