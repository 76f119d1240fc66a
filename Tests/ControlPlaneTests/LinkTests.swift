import Sandbox
import SessionModel
import Synchronization
import Testing

@testable import ControlPlane

/// The connection to a harness breaks while both ends live.
struct LinkTests {
  @Test("a link that breaks is made again: the turn goes on, and nothing is read or given twice")
  func breaks() async throws {
    try await World.run { world in
      let request = try TurnRequest.cli(
        [.said("count done; say one; gate go; count done; say two", "m1")], key: "test:a", turn: "t1")
      let turn = try await world.submit(request)
      try await world.wait("test:a") { $0.isCommandStart }
      let shims = try await world.shims(of: "test:a")
      // Each takes the connection's place, as its end would: the server has to come back.
      for _ in 0..<3 { try await world.displaceLink(of: "test:a") }
      try await world.open(gate: "go", of: "test:a")
      let events = try await turn.finished()
      #expect(events.ends == ["completed"])
      #expect(events.texts == ["one", "two"])
      #expect(try await world.lines("done", of: "test:a").count == 2)
      #expect(try await world.run("recall; count done", key: "test:a").ends == ["completed"])
      #expect(try await world.shims(of: "test:a") == shims)
      #expect(try await world.log("test:a").isDense)
    }
  }
}

extension World {
  /// Attaches to a session's sandbox with the fence that its server has, and goes away.
  fileprivate func displaceLink(of key: String) async throws {
    let session = try #require(try await store.session(owner: .local, key: ThreadKey(key)))
    let directories = SessionDirectories(data: data, session: session.id)
    let id = try #require(directories.sandboxes.first)
    let backend = ProcessSandbox(shim: Self.shim, environment: [:])
    let (sandbox, isAlive) = try await backend.find(directories.place(of: id, limits))
    #expect(isAlive)
    let hasAttached = Mutex(false)
    // Its server's is the first that is not older than what was there.
    for number in Int64(1)..<1000 where !hasAttached.withLock({ $0 }) {
      try? await sandbox.withLink(fence: 1 << 24 + number, offset: 0) { _, events in
        var events = events
        if try await events.next() != nil { hasAttached.withLock { $0 = true } }
      }
    }
    #expect(hasAttached.withLock { $0 })
  }
}
