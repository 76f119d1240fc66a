import Logging
import Sandbox
import SessionModel
import Testing

@testable import ControlPlane

/// A session that nobody asks anything of leaves the server's memory, and nobody notices.
struct RetirementTests {
  private static let limits = ControlPlaneConfiguration.Limits(
    idleSandbox: .milliseconds(10), quiet: .milliseconds(20))

  /// A drive as the control plane would make it, and its end.
  private static func drive(_ world: World, _ key: String) throws -> (drive: SessionDrive, running: Task<Void, Never>) {
    let clock = WallClock.system
    let drive = SessionDrive(
      owner: .local, key: try ThreadKey(key),
      services: .init(
        store: world.store, sandboxes: ProcessSandbox(shim: World.shim, environment: ["PATH": "/usr/bin:/bin"]),
        capacity: SandboxCapacity(limit: 4, turns: 4), configuration: world.configuration("node", world.harnesses),
        clock: clock, ids: IdentifierSource { UInt64(clock.now.milliseconds) }, metrics: DriveMetrics(),
        logger: Logger(label: "drive") { _ in SwiftLogNoOpLogHandler() }))
    return (drive, Task { await drive.run() })
  }

  /// Runs a turn to its end; whoever keeps the admitted turn listens to the session.
  private static func run(_ text: String, _ drive: SessionDrive) async throws -> Session {
    let turn = try await drive.submit(.sdk(text, key: drive.key.rawValue))
    _ = try await turn.finished()
    return turn.session
  }

  @Test("a quiet session's drive ends, with its process gone and its lease given back")
  func ends() async throws {
    try await World.run(Self.limits, hasServer: false) { world in
      let (drive, running) = try Self.drive(world, "test:a")
      let session = try await Self.run("say one", drive)
      try await within { await running.value }
      #expect(!drive.post { _ in })
      await #expect(throws: DriveEnded.self) { try await drive.submit(.sdk("say two", key: "test:a")) }
      #expect(try await world.leftovers(of: "test:a").isEmpty)
      _ = try await world.store.acquireLease(
        session.id, holder: "another", now: WallClock.system.now, until: WallClock.system.now + .seconds(60)
      ) { _ in false }
    }
  }

  @Test("a lease that the store did not take back runs out, though its server lives")
  func notGivenBack() async throws {
    var limits = Self.limits
    limits.lease = .milliseconds(300)
    try await World.run(limits) { world in
      world.store.fail(.releaseLease)
      let turn = try await world.submit(.sdk("say one", key: "test:a"))
      _ = try await turn.finished()
      try await within {
        while true {
          let now = WallClock.system.now
          let taken = try? await world.store.acquireLease(
            turn.session.id, holder: "another", now: now, until: now + .seconds(60)
          ) { _ in false }
          if taken != nil { break }
          try await Task.sleep(for: .milliseconds(20))
        }
      }
    }
  }

  @Test("somebody who listens keeps the session, also while he is busy with what he has read; then it ends")
  func listener() async throws {
    try await World.run(Self.limits, hasServer: false) { world in
      let (drive, running) = try Self.drive(world, "test:a")
      _ = try await Self.run("say one", drive)
      let (other, otherRunning) = try Self.drive(world, "test:b")
      do {
        let feed = try #require(try await drive.serially { $0.feed })
        var reader = feed.subscribe(after: 0).makeAsyncIterator()
        _ = try await reader.next()
        // Another session is as quiet as this one; when it has ended, so would this one have.
        _ = try await Self.run("say two", other)
        try await within { await otherRunning.value }
        _ = try await Self.run("say three", drive)
        var heard: [SessionEvent] = []
        while !heard.texts.contains("three") {
          heard += try #require(try await reader.next())
        }
      }
      // Nobody tells the drive that he has gone.
      try await within { await running.value }
    }
  }

  @Test("requests that come while a session is being forgotten are answered by the next drive")
  func race() async throws {
    try await World.run(.init(idleSandbox: .milliseconds(1), quiet: .milliseconds(1))) { world in
      let key = try ThreadKey("test:a")
      try await withThrowingTaskGroup(of: Void.self) { group in
        for number in 0..<4 {
          group.addTask {
            for round in 0..<50 {
              _ = try await within {
                try await world.controlPlane.openSession(
                  owner: .local, key: key, harness: nil, persona: nil, instructions: nil, origin: "session_api")
              }
              let message = Message.said("say one", "m\(number)/\(round)")
              _ = try await within { try await world.controlPlane.append(message, owner: .local, key: key) }
              try await Task.sleep(for: .milliseconds(round % 4))
            }
          }
        }
        try await group.waitForAll()
      }
      let log = try await world.log("test:a")
      #expect(log.isDense)
      #expect(log.count == 201)
    }
  }

  @Test("turns that come while a session's process and drive end are all run once")
  func turnsInTheRace() async throws {
    try await World.run(.init(idleSandbox: .milliseconds(1), quiet: .milliseconds(1))) { world in
      for round in 0..<12 {
        let events = try await world.run("count done; say \(round)", key: "test:a")
        #expect(events.ends == ["completed"])
        try await Task.sleep(for: .milliseconds(round))
      }
      #expect(try await world.lines("done", of: "test:a").count == 12)
      #expect(try await world.log("test:a").isDense)
    }
  }
}
