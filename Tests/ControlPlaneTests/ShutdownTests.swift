import ControlPlane
import Glibc
import SessionModel
import Testing

/// The server ends, or is gone; another one goes on with what is in the store.
struct ShutdownTests {
  /// Takes a session's lease as somebody who waits for his turn would.
  private static func takeLease(_ world: World, _ session: SessionID) async throws {
    _ = try await world.store.acquireLease(
      session, holder: "another", now: WallClock.system.now, until: WallClock.system.now + .seconds(60)
    ) { _ in false }
  }

  @Test("a turn goes on in its sandbox while the server is not there; its client's stream is cut without an end")
  func midTurn() async throws {
    try await World.run(hasServer: false) { world in
      let node = world.startServer("node-2")
      let turn = try await node.controlPlane.submit(.sdk("say one; gate go; say two", key: "test:a"))
      try await world.wait("test:a", on: node.controlPlane) { $0.isCommandStart }
      let shims = try await world.shims(of: "test:a")
      #expect(shims.count == 1)
      await #expect(throws: CentaurError.self) { try await Self.takeLease(world, turn.session.id) }
      let reader = Task { try await turn.finished() }
      try await node.shutDown()
      await #expect(throws: NoEnd.self) { try await reader.value }
      for shim in shims { #expect(!World.hasEnded(shim)) }
      #expect(try await world.log("test:a").ends == [])
      let late = await #expect(throws: CentaurError.self) {
        try await node.controlPlane.submit(.sdk("say late", key: "test:a"))
      }
      #expect(late?.code == .shuttingDown)
      try await Self.takeLease(world, turn.session.id)
      let next = world.startServer("node-3")
      try await world.open(gate: "go", of: "test:a")
      #expect(try await world.waitForEnds(1, of: "test:a").texts == ["one", "two"])
      try await next.shutDown()
      for shim in shims { #expect(World.hasEnded(shim)) }
    }
  }

  @Test("a server that is cancelled leaves its sessions as one that is told to end")
  func cancelled() async throws {
    try await World.run(hasServer: false) { world in
      let node = world.startServer("node-2")
      let turn = try await node.controlPlane.submit(.sdk("say one; hold", key: "test:a"))
      try await world.wait("test:a", on: node.controlPlane) { $0.isMessage("one") }
      _ = try await node.controlPlane.submit(.sdk("say idle", key: "test:idle")).finished()
      let shims = try await world.shims(of: "test:a")
      let idle = try await world.shims(of: "test:idle")
      node.running.cancel()
      _ = try await within { await node.running.result }
      for shim in shims { #expect(!World.hasEnded(shim)) }
      for shim in idle { #expect(World.hasEnded(shim)) }
      #expect(try await world.log("test:a").ends == [])
      try await Self.takeLease(world, turn.session.id)
    }
  }

  @Test("a server that is told to end while a harness starts leaves no process behind")
  func whileStarting() async throws {
    for _ in 0..<5 {
      try await World.run(hasServer: false) { world in
        let node = world.startServer("node-2")
        let turn = try await node.controlPlane.submit(.sdk("say one", key: "test:a"))
        try await node.shutDown()
        #expect(try await world.leftovers(of: "test:a").isEmpty)
        // The turn goes on with the next server, if this one did not come to its end.
        let next = world.startServer("node-3")
        _ = try await world.wait("test:a", on: next.controlPlane) { $0.isTerminal }
        #expect(try await world.log("test:a").ends(of: turn).count == 1)
        try await next.shutDown()
      }
    }
  }

  @Test("a turn that waits when the server ends is run by the next one")
  func queued() async throws {
    try await World.run(hasServer: false) { world in
      let node = world.startServer("node-2")
      let first = try await node.controlPlane.submit(.sdk("say one; gate go", key: "test:a"))
      try await world.wait("test:a", on: node.controlPlane) { $0.isCommandStart }
      let second = try await node.controlPlane.submit(.sdk("say two", key: "test:a"))
      try await node.shutDown()
      #expect(try await world.log("test:a").ends == [])
      let next = world.startServer("node-3")
      try await world.wait("test:a", on: next.controlPlane) { $0.isReattached }
      #expect(try await world.log("test:a").ends == [])
      try await world.open(gate: "go", of: "test:a")
      let log = try await world.waitForEnds(2, of: "test:a")
      #expect(log.ends(of: first) == ["completed"])
      #expect(log.ends(of: second) == ["completed"])
      #expect(log.texts == ["one", "two"])
      try await next.shutDown()
    }
  }

  @Test("a steering message that the harness was sent and had not answered is taken, or run, once, after a restart")
  func steering() async throws {
    for answer in ["taken", "refused"] {
      try await World.run(hasServer: false) { world in
        let node = world.startServer("node-2")
        // The gate keeps the harness from reading the message before the server is gone.
        let first = try TurnRequest.cli(
          [.said("steering \(answer); say holding; gate go; hold", "m1")], key: "test:a", turn: "t1")
        let turn = try await node.controlPlane.submit(first)
        try await world.wait("test:a", on: node.controlPlane) { $0.isCommandStart }
        let steer = first.with { $0.input.append(.said("say late", "m2")) }
        let request = Task { try await node.controlPlane.submit(steer) }
        // Two steps of the turn, and what becomes of the message.
        try await world.waitForInputs(3, of: "test:a")
        try await node.shutDown()
        let error = await #expect(throws: CentaurError.self) { try await within { try await request.value } }
        #expect(error?.code == .shuttingDown)
        let next = world.startServer("node-3")
        // The client asks again, as it does by itself.
        let again = Task { try await next.controlPlane.submit(steer) }
        try await world.open(gate: "go", of: "test:a")
        let taken = try await within { try await again.value }
        if answer == "refused" {
          _ = try await next.controlPlane.interrupt(owner: .local, key: ThreadKey("test:a"), reason: "interrupted")
        }
        try await world.wait("test:a", on: next.controlPlane) { $0.isMessage("late") }
        let log = try await world.waitForEnds(answer == "taken" ? 1 : 2, of: "test:a")
        #expect(log.filter { $0.payload.isMessage("late") }.map(\.executionID) == [taken.execution.id])
        #expect((taken.execution.id == turn.execution.id) == (answer == "taken"))
        #expect(
          log.count { if case .messageAppended(let said) = $0.payload { said.clientID == "m2" } else { false } } == 1)
        try await next.shutDown()
      }
    }
  }
}
