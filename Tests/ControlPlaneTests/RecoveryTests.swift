import Glibc
import SessionModel
import Testing

@testable import ControlPlane

/// A server finds what an earlier one left.
struct RecoveryTests {
  @Test("a server that vanished leaves a running turn, which ends once, and a waiting one, which is run")
  func vanished() async throws {
    try await World.run(hasServer: false) { world in
      // This one is left as it is: nobody tells it to end. It loses its sessions to the next one.
      let gone = world.startServer("node-2")
      let running = try await gone.controlPlane.submit(.sdk("open half; say one; hold", key: "test:a"))
      try await world.wait("test:a", on: gone.controlPlane) { $0.isMessage("one") }
      let waiting = try await gone.controlPlane.submit(.sdk("count done; say two", key: "test:a"))
      let shims = try await world.shims(of: "test:a")

      let next = world.startServer("node-3")
      try await world.wait("test:a", on: next.controlPlane) { $0.isMessage("two") }
      try await world.wait("test:a", on: next.controlPlane) { if case .executionCompleted = $0 { true } else { false } }
      let log = try await world.log("test:a")
      #expect(log.ends(of: running) == ["failed (server_restarted)"])
      #expect(log.ends(of: waiting) == ["completed"])
      #expect(log.isDense)
      #expect(log.filter { $0.executionID == running.execution.id }.texts == ["one", "half"])
      #expect(try await world.lines("done", of: "test:a").count == 1)
      try await gone.shutDown()
      for shim in shims { #expect(kill(shim, 0) == -1) }
      #expect(try await world.log("test:a").ends(of: running) == ["failed (server_restarted)"])
      try await next.shutDown()
    }
  }
}
