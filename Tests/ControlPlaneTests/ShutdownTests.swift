import ControlPlane
import Glibc
import SessionModel
import Testing

/// The server ends, or is gone; another one goes on with what is in the store.
struct ShutdownTests {
  /// Takes a session's lease as somebody who waits for his turn would.
  private static func takeLease(_ world: World, _ session: SessionID) async throws {
    _ = try await world.store.acquireLease(
      session, holder: "another", until: WallClock.system.now + .seconds(60), evicting: false)
  }

  @Test("a shutdown in the middle of a turn ends it once, ends its process and gives the session back")
  func midTurn() async throws {
    try await World.run(hasServer: false) { world in
      let node = world.startServer("node-2")
      let turn = try await node.controlPlane.submit(.sdk("open half; say one; hold", key: "test:a"))
      try await world.wait("test:a", on: node.controlPlane) { $0.isMessage("one") }
      let shims = try await world.shims(of: "test:a")
      #expect(shims.count == 1)
      await #expect(throws: CentaurError.self) { try await Self.takeLease(world, turn.session.id) }
      let reader = Task { try await turn.finished() }
      try await node.shutDown()
      #expect(try await reader.value.ends == ["failed (server_restarted)"])
      for shim in shims { #expect(kill(shim, 0) == -1) }
      try await Self.takeLease(world, turn.session.id)
      #expect(try await world.log("test:a").ends == ["failed (server_restarted)"])
      let late = await #expect(throws: CentaurError.self) {
        try await node.controlPlane.submit(.sdk("say late", key: "test:a"))
      }
      #expect(late?.code == .shuttingDown)
    }
  }

  @Test("a server that is cancelled ends its sessions as well as one that is told to end")
  func cancelled() async throws {
    try await World.run(hasServer: false) { world in
      let node = world.startServer("node-2")
      let turn = try await node.controlPlane.submit(.sdk("say one; hold", key: "test:a"))
      try await world.wait("test:a", on: node.controlPlane) { $0.isMessage("one") }
      let shims = try await world.shims(of: "test:a")
      node.running.cancel()
      _ = try await within { await node.running.result }
      for shim in shims { #expect(kill(shim, 0) == -1) }
      #expect(try await world.log("test:a").ends == ["failed (server_restarted)"])
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
      let first = try await node.controlPlane.submit(.sdk("say one; hold", key: "test:a"))
      try await world.wait("test:a", on: node.controlPlane) { $0.isMessage("one") }
      let second = try await node.controlPlane.submit(.sdk("say two", key: "test:a"))
      try await node.shutDown()
      #expect(try await world.log("test:a").ends == ["failed (server_restarted)"])
      let next = world.startServer("node-3")
      try await world.wait("test:a", on: next.controlPlane) { $0.isMessage("two") }
      try await world.wait("test:a", on: next.controlPlane) { if case .executionCompleted = $0 { true } else { false } }
      let log = try await world.log("test:a")
      #expect(log.ends(of: first) == ["failed (server_restarted)"])
      #expect(log.ends(of: second) == ["completed"])
      try await next.shutDown()
    }
  }

  @Test("a request that waits for the harness's answer to a steering message is answered at shutdown")
  func steering() async throws {
    try await World.run(hasServer: false) { world in
      let node = world.startServer("node-2")
      let first = try TurnRequest.cli(
        [.said("steering unanswered; say holding; hold", "m1")], key: "test:a", turn: "t1")
      _ = try await node.controlPlane.submit(first)
      try await world.wait("test:a", on: node.controlPlane) { $0.isMessage("holding") }
      let steer = first.with { $0.input.append(.said("say late", "m2")) }
      let request = Task { try await node.controlPlane.submit(steer) }
      try await world.wait("test:a", on: node.controlPlane) { $0.isMessage("asked m2") }
      try await node.shutDown()
      let own = try await within { try await request.value }
      let next = world.startServer("node-3")
      try await world.wait("test:a", on: next.controlPlane) { $0.isMessage("late") }
      #expect(try await world.log("test:a").first { $0.payload.isMessage("late") }?.executionID == own.execution.id)
      try await next.shutDown()
    }
  }
}
