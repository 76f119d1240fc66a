import FoundationEssentials
import Glibc
import Sandbox
import SessionModel
import Testing

@testable import ControlPlane

/// Sandboxes that wait for new sessions.
struct WarmPoolTests {
  private static let one = [World.scripted: 1]

  @Test("a new session takes the sandbox that waits, with its id, and goes on in it")
  func claimed() async throws {
    try await World.run(warmPool: Self.one) { world in
      let waiting = try await world.pool(1)[0]
      #expect(try await world.run("say one", key: "test:a").texts == ["one"])
      let session = try #require(try await world.store.session(owner: .local, key: ThreadKey("test:a")))
      #expect(session.id == waiting)
      #expect(try await world.run("recall", key: "test:a").texts == ["say one"])
      #expect(try await world.log("test:a").sandboxes == [.warm])
      #expect(!world.marks.contains(waiting.rawValue))
    }
  }

  @Test("a sandbox serves one session; the pool is filled up behind those that were taken")
  func neverTwice() async throws {
    try await World.run(warmPool: [World.scripted: 3]) { world in
      for round in 0..<2 {
        let waiting = Set(try await world.pool(3))
        try await withThrowingTaskGroup(of: Void.self) { group in
          for number in 0..<5 {
            group.addTask {
              let events = try await world.run("count done; say \(number)", key: "test:\(round)-\(number)")
              #expect(events.texts == ["\(number)"])
            }
          }
          try await group.waitForAll()
        }
        var warm = 0
        for number in 0..<5 {
          let log = try await world.log("test:\(round)-\(number)")
          #expect(log.sandboxes.count == 1)
          #expect(try await world.lines("done", of: "test:\(round)-\(number)").count == 1)
          if log.sandboxes == [.warm] { warm += 1 }
        }
        #expect(warm >= 3)
        #expect(waiting.isDisjoint(with: try await world.pool(3)))
      }
    }
  }

  @Test("a session that is opened without a turn has its sandbox at once")
  func opened() async throws {
    try await World.run(warmPool: Self.one) { world in
      let waiting = try await world.pool(1)[0]
      let opened = try await world.controlPlane.openSession(
        owner: .local, key: ThreadKey("test:a"), harness: nil, persona: nil, instructions: "be brief",
        origin: "session_api")
      #expect(opened.session.id == waiting)
      #expect(try await world.run("instructed", key: "test:a").texts == ["be brief"])
      #expect(try await world.log("test:a").sandboxes == [.warm])
    }
  }

  @Test("a harness that waited is told the session's instructions and what was said before")
  func told() async throws {
    try await World.run(personas: ["p": .init(instructions: "of p")], warmPool: Self.one) { world in
      _ = try await world.pool(1)
      let request = try TurnRequest.sdk("instructed; recall", key: "test:a").with {
        $0.instructions = "own"
        $0.persona = "p"
        $0.hasHistory = true
        $0.history = { [.said("earlier")] }
      }
      let events = try await world.submit(request).finished()
      #expect(events.texts == ["of p / own", "user: earlier"])
      #expect(try await world.log("test:a").sandboxes == [.warm])
    }
  }

  @Test("what cannot be given to a harness that waits makes the session start cold")
  func misfits() async throws {
    let harness = ScriptedHarness(name: World.scripted, takesHistory: false)
    let template = "/tmp/centaur-tests-template-\(getpid())"
    try FileManager.default.createDirectory(atPath: template, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: template) }
    let personas = ["t": ControlPlaneConfiguration.Persona(workspace: .template(template))]
    try await World.run(harnesses: [harness], personas: personas, warmPool: Self.one) { world in
      let waiting = try await world.pool(1)
      let told = try TurnRequest.sdk("recall", key: "test:a").with {
        $0.hasHistory = true
        $0.history = { [.said("earlier")] }
      }
      #expect(try await world.submit(told).finished().texts == ["user: earlier"])
      let copied = try TurnRequest.sdk("say one", key: "test:b").with { $0.persona = "t" }
      #expect(try await world.submit(copied).finished().texts == ["one"])
      for key in ["test:a", "test:b"] { #expect(try await world.log(key).sandboxes == [.cold]) }
      #expect(try await world.pool(1) == waiting)
    }
  }

  @Test("where every workspace begins as a copy nothing waits: it would be a copy of yesterday")
  func copies() async throws {
    try await World.run(warmPool: Self.one) { world in
      var configuration = world.configuration("node", world.harnesses)
      let services = world.controlPlane.services
      func pool() -> WarmPool? {
        WarmPool(
          .init(
            store: services.store, sandboxes: services.sandboxes, capacity: services.capacity,
            configuration: configuration, clock: services.clock, ids: services.ids, metrics: services.metrics,
            logger: services.logger))
      }
      #expect(pool() != nil)
      configuration.workspace = .template("/srv/template")
      #expect(pool() == nil)
    }
  }

  @Test("a harness that dies while it waits is replaced, and nothing of it is left")
  func dies() async throws {
    try await World.run(warmPool: Self.one) { world in
      let first = try await world.pool(1)[0]
      for shim in world.shims(of: first) { kill(shim, SIGKILL) }
      try await within {
        while try await world.pool(1)[0] == first { try await Task.sleep(for: .milliseconds(5)) }
      }
      #expect(!FileManager.default.fileExists(atPath: "\(world.data)/sessions/\(first)"))
      #expect(try await world.run("say one", key: "test:a").texts == ["one"])
      #expect(try await world.log("test:a").sandboxes == [.warm])
    }
  }

  @Test("a sandbox that waits gives its place to a turn that it does not fit")
  func yields() async throws {
    let other = ScriptedHarness(name: HarnessName(rawValue: "other"))
    try await World.run(
      .init(sandboxes: 1), harnesses: [.init(name: World.scripted), other], warmPool: Self.one
    ) { world in
      let waiting = try await world.pool(1)[0]
      let shims = world.shims(of: waiting)
      let turn = try await world.submit(try TurnRequest.sdk("say one", key: "test:a").with { $0.harness = other.name })
      #expect(try await turn.finished().texts == ["one"])
      #expect(try await world.log("test:a").sandboxes == [.cold])
      #expect(shims.count == 1)
      for shim in shims { #expect(kill(shim, 0) == -1) }
      try await within { while !world.marks.isEmpty { try await Task.sleep(for: .milliseconds(5)) } }
      // The place is the session's as long as it wants it.
      #expect(try await world.run("recall", key: "test:a").texts == ["say one"])
      #expect(try await world.log("test:a").sandboxes == [.cold])
    }
  }

  @Test("an idle session's sandbox stays where one that waits can give way")
  func yieldsFirst() async throws {
    let other = ScriptedHarness(name: HarnessName(rawValue: "other"))
    try await World.run(
      .init(sandboxes: 2), harnesses: [.init(name: World.scripted), other], warmPool: [other.name: 1]
    ) { world in
      _ = try await world.pool(1)
      _ = try await world.run("say one", key: "test:a")
      _ = try await world.run("say two", key: "test:b")
      #expect(try await !world.kinds("test:a").contains("sandbox.stopped"))
    }
  }

  @Test("the pool comes back when an idle session's sandbox has been stopped, and that session goes on")
  func comesBack() async throws {
    try await World.run(.init(idleSandbox: .milliseconds(50), sandboxes: 1), warmPool: Self.one) { world in
      _ = try await world.pool(1)
      _ = try await world.run("say one", key: "test:a")
      _ = try await world.pool(1)
      #expect(try await world.run("recall", key: "test:a").texts == ["say one"])
      #expect(try await world.log("test:a").sandboxes == [.warm, .resumed])
    }
  }

  @Test("sandboxes that wait are not turns at work")
  func limitOfTurns() async throws {
    try await World.run(.init(sandboxes: 2, turns: 2), warmPool: [World.scripted: 2]) { world in
      _ = try await world.pool(2)
      #expect(try await world.run("say one", key: "test:a").ends == ["completed"])
      #expect(try await world.run("say two", key: "test:b").ends == ["completed"])
    }
  }

  @Test("a session that could not be written leaves no sandbox, and the next one takes another")
  func admissionFails() async throws {
    try await World.run(warmPool: Self.one) { world in
      let first = try await world.pool(1)[0]
      let shims = world.shims(of: first)
      world.store.fail(.commit)
      await #expect(throws: CentaurError.self) { try await world.run("say one", key: "test:a") }
      world.store.heal()
      for shim in shims { #expect(kill(shim, 0) == -1) }
      #expect(!FileManager.default.fileExists(atPath: "\(world.data)/sessions/\(first)"))
      #expect(try await world.pool(1)[0] != first)
      #expect(try await world.run("say one", key: "test:a").texts == ["one"])
    }
  }

  @Test("a shutdown leaves neither a process nor a directory of those that wait")
  func shutdown() async throws {
    try await World.run(hasServer: false, warmPool: [World.scripted: 2]) { world in
      let node = world.startServer("node-2")
      let shims = try await world.pool(2, of: node).flatMap { world.shims(of: $0) }
      #expect(shims.count == 2)
      try await node.shutDown()
      for shim in shims { #expect(kill(shim, 0) == -1) }
      #expect(world.marks.isEmpty)
      #expect(try FileManager.default.contentsOfDirectory(atPath: "\(world.data)/sessions").isEmpty)
    }
  }

  @Test("a server that is told to end while its pool fills leaves nothing behind")
  func shutdownWhileFilling() async throws {
    for round in 0..<5 {
      try await World.run(hasServer: false, warmPool: [World.scripted: 2]) { world in
        let node = world.startServer("node-2")
        if round > 0 {
          try await within { while world.marks.count < 1 { try await Task.sleep(for: .milliseconds(round)) } }
        }
        try await node.shutDown()
        #expect(world.marks.isEmpty)
        let left = try? FileManager.default.contentsOfDirectory(atPath: "\(world.data)/sessions")
        #expect(left?.isEmpty ?? true)
      }
    }
  }

  @Test(
    "what a server that vanished had waiting is ended by the next one, with a pool or without; its sessions are left alone",
    arguments: [one, [:]])
  func vanished(pool: [HarnessName: Int]) async throws {
    try await World.run(hasServer: false, warmPool: Self.one) { world in
      let gone = world.startServer("node-2")
      _ = try await world.pool(1, of: gone)
      _ = try await gone.controlPlane.submit(.sdk("count done; say one", key: "test:a")).finished()
      let waiting = try await world.pool(1, of: gone)[0]
      let shims = world.shims(of: waiting)
      // As a kill between the session's commit and the mark's removal would leave it.
      let taken = try #require(try await world.store.session(owner: .local, key: ThreadKey("test:a"))).id
      try WarmPoolMarks(data: world.data, node: "node-2").add(taken)
      let next = world.startServer("node-3") { $0.warmPool = pool }
      try await within {
        while world.marks.contains(waiting.rawValue) || world.marks.contains(taken.rawValue) {
          try await Task.sleep(for: .milliseconds(5))
        }
      }
      #expect(!FileManager.default.fileExists(atPath: "\(world.data)/sessions/\(waiting)"))
      #expect(try await world.lines("done", of: "test:a").count == 1)
      // It is the parent of its shims, and sees to them when they have ended.
      try await gone.shutDown()
      for shim in shims { #expect(kill(shim, 0) == -1) }
      try await next.shutDown()
    }
  }

  @Test("a harness that does not come up is tried again, later and later, and delays nobody")
  func backsOff() async throws {
    let broken = ScriptedHarness(name: HarnessName(rawValue: "broken"), start: .exits)
    try await World.run(
      .init(sandboxes: 2), harnesses: [.init(name: World.scripted), broken], warmPool: [broken.name: 1]
    ) { world in
      var services = world.controlPlane.services
      services.pool = nil
      let pool = try #require(WarmPool(services, firstPause: .milliseconds(1)))
      let running = Task { await pool.run() }
      try await within {
        while await pool.failures(of: broken.name) < 3 { try await Task.sleep(for: .milliseconds(2)) }
      }
      #expect(try await world.run("say one", key: "test:a").texts == ["one"])
      await pool.shutDown()
      await running.value
    }
  }
}

extension World {
  /// The sandboxes that wait, as soon as there are `count`.
  func pool(_ count: Int, of node: Node? = nil) async throws -> [SessionID] {
    let owner = node?.controlPlane ?? controlPlane
    let pool = try #require(owner.services.pool)
    return try await within {
      while true {
        let ready = await pool.ready
        if ready.count == count { return ready }
        try await Task.sleep(for: .milliseconds(2))
      }
    }
  }

  /// The names of the sessions' directories that are a pool's.
  var marks: [String] { WarmPoolMarks(data: data, node: "").left { _ in true }.map(\.rawValue) }

  /// The shims in a session's directory.
  func shims(of session: SessionID) -> [Int32] {
    let directories = SessionDirectories(data: data, session: session)
    return directories.sandboxes.compactMap { id in
      FileManager.default.contents(atPath: "\(directories.sandbox(id))/pid")
        .flatMap { Int32(String(decoding: $0, as: UTF8.self).split(separator: "\n").first ?? "") }
    }
  }
}
