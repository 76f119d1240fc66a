import ControlPlane
import FoundationEssentials
import Glibc
import Harness
import Logging
import SQLiteStore
import Sandbox
import ServiceLifecycle
import SessionModel
import Testing

/// What a test works with: a real store and real sandboxes in a directory of its own, and a server's control plane.
struct World: Sendable {
  static let scripted = HarnessName(rawValue: "scripted")

  let data: String
  let store: FaultyStore
  let limits: ControlPlaneConfiguration.Limits
  let harnesses: [ScriptedHarness]
  let personas: [String: ControlPlaneConfiguration.Persona]
  /// How many sandboxes wait for sessions.
  let warmPool: [HarnessName: Int]
  /// The server that a test's requests go to.
  private let first: Node?

  /// Makes a world, gives it to `body`, and takes it down again.
  /// - Parameter hasServer: false for a test that starts servers of its own: one that starts looks after the sessions
  ///   of all others.
  static func run(
    _ limits: ControlPlaneConfiguration.Limits = .init(), hasServer: Bool = true,
    harnesses: [ScriptedHarness] = [.init(name: scripted)],
    personas: [String: ControlPlaneConfiguration.Persona] = [:], warmPool: [HarnessName: Int] = [:],
    _ body: @Sendable (World) async throws -> Void
  ) async throws {
    let data = "/tmp/centaur-tests-\(getpid())-\(UInt32.random(in: 0 ... .max))"
    try FileManager.default.createDirectory(atPath: data, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: data) }
    let store = FaultyStore(try SQLiteStore(path: "\(data)/store.sqlite", durability: .normal))
    var limits = limits
    let usual = ControlPlaneConfiguration.Limits()
    // Where hundreds of tests start harnesses at once, what a test is not about may take any time.
    if limits.sandboxWait == usual.sandboxWait { limits.sandboxWait = .seconds(3600) }
    if limits.harnessStart == usual.harnessStart { limits.harnessStart = .seconds(3600) }
    func world(_ first: Node?) -> World {
      World(
        data: data, store: store, limits: limits, harnesses: harnesses, personas: personas, warmPool: warmPool,
        first: first)
    }
    let node = hasServer ? world(nil).startServer("node-1") : nil
    let world = world(node)
    do {
      try await body(world)
    } catch {
      store.heal()
      try? await node?.shutDown()
      await endSandboxes(data)
      throw error
    }
    store.heal()
    try await node?.shutDown()
    await endSandboxes(data)
  }

  var controlPlane: ControlPlane {
    guard let first else { preconditionFailure("a world without a server") }
    return first.controlPlane
  }

  /// One server: its control plane, run as a service as the real server does.
  struct Node: Sendable {
    let controlPlane: ControlPlane
    let group: ServiceGroup
    let running: Task<Void, any Error>

    /// As on SIGTERM. Returns when everything of the server has ended.
    func shutDown() async throws {
      await group.triggerGracefulShutdown()
      try await within { try await running.value }
    }
  }

  /// Starts a server on this world's data.
  /// - Parameters:
  ///   - harnesses: those that it knows; nil: all of the world's.
  ///   - change: what else its configuration says.
  func startServer(
    _ name: String, harnesses: [ScriptedHarness]? = nil, executable: String = "/bin/sh", clock: WallClock = .system,
    _ change: (inout ControlPlaneConfiguration) -> Void = { _ in }
  ) -> Node {
    var logger = Logger(label: name) { _ in SwiftLogNoOpLogHandler() }
    logger.logLevel = .critical
    var configuration = configuration(name, harnesses ?? self.harnesses, executable)
    change(&configuration)
    let controlPlane = ControlPlane(
      store: store, sandboxes: ProcessSandbox(shim: Self.shim, environment: ["PATH": "/usr/bin:/bin"]),
      configuration: configuration, clock: clock,
      ids: IdentifierSource { UInt64(clock.now.milliseconds) }, logger: logger)
    let group = ServiceGroup(
      configuration: .init(services: [controlPlane], gracefulShutdownSignals: [], logger: logger))
    return Node(controlPlane: controlPlane, group: group, running: Task { try await group.run() })
  }

  func configuration(
    _ node: String, _ harnesses: [ScriptedHarness], _ executable: String = "/bin/sh"
  ) -> ControlPlaneConfiguration {
    var setups: [HarnessName: ControlPlaneConfiguration.HarnessSetup] = [:]
    for harness in harnesses {
      setups[harness.name] = .init(adapter: harness, executable: executable, model: "m1", models: ["m1", "m2"])
    }
    return ControlPlaneConfiguration(
      // To each server all earlier ones are dead, whatever they do still.
      dataDirectory: data, node: node, isDead: { $0 < node }, harnesses: setups,
      defaultHarness: ["test": harnesses[0].name],
      personas: personas, limits: limits, warmPool: warmPool, gateway: NoWayOut())
  }

  /// `centaur-shim` lies beside the test program.
  static let shim: String = {
    let program = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
    return program.split(separator: "/").dropLast().map { "/\($0)" }.joined() + "/centaur-shim"
  }()

  // MARK: Looking

  /// A session's whole log as the store holds it.
  func log(_ key: String) async throws -> [SessionEvent] {
    let session = try #require(try await store.session(owner: .local, key: ThreadKey(key)))
    return try await store.events(session.id, after: 0, limit: 100_000)
  }

  func kinds(_ key: String) async throws -> [String] { try await log(key).map(\.payload.kind) }

  /// Waits until the session's log holds an event of the kind that is asked for.
  @discardableResult
  func wait(
    _ key: String, on controlPlane: ControlPlane? = nil, for matches: @escaping @Sendable (EventPayload) -> Bool
  ) async throws -> SessionEvent {
    let controlPlane = controlPlane ?? self.controlPlane
    return try await within {
      while true {
        let events = try await controlPlane.events(owner: .local, key: ThreadKey(key), after: 0)
        for try await batch in events {
          if let event = batch.first(where: { matches($0.payload) }) { return event }
        }
        // The session's drive has ended; the next one goes on with the log.
      }
    }
  }

  func workspace(_ key: String) async throws -> String {
    let session = try #require(try await store.session(owner: .local, key: ThreadKey(key)))
    return "\(data)/sessions/\(session.id)/workspace"
  }

  /// The lines of a file in a session's workspace.
  func lines(_ file: String, of key: String) async throws -> [String] {
    let content = FileManager.default.contents(atPath: "\(try await workspace(key))/\(file)") ?? Data()
    return String(decoding: content, as: UTF8.self).split(separator: "\n").map(String.init)
  }

  /// Lets a harness go on that waits at a gate.
  func open(gate: String, of key: String) async throws {
    #expect(FileManager.default.createFile(atPath: "\(try await workspace(key))/\(gate)", contents: Data()))
  }

  /// Ends a session's harness from outside; its turn must have taken the step `pid FILE` before.
  func killHarness(_ file: String, of key: String) async throws {
    let pid = try #require(try await lines(file, of: key).first.flatMap { Int32($0) })
    #expect(kill(pid, SIGKILL) == 0)
  }

  /// What a session's sandboxes have left in its directory, by their ids.
  func leftovers(of key: String) async throws -> [String] {
    let session = try #require(try await store.session(owner: .local, key: ThreadKey(key)))
    let sandboxes = "\(data)/sessions/\(session.id)/sandboxes"
    return ((try? FileManager.default.contentsOfDirectory(atPath: sandboxes)) ?? []).map { "\(sandboxes)/\($0)" }
  }

  /// Returns the log when so many of the session's turns have ended.
  func waitForEnds(_ count: Int, of key: String) async throws -> [SessionEvent] {
    try await within {
      while true {
        let log = try await log(key)
        if log.ends.count >= count { return log }
        try await Task.sleep(for: .milliseconds(5))
      }
    }
  }

  /// Returns when the session's harness has printed a text.
  func waitForSpool(_ text: String, of key: String) async throws {
    try await waitForFile("spool/0", text, of: key)
  }

  /// Returns when the shim of a session's harness has taken so many inputs for it.
  func waitForInputs(_ count: Int, of key: String) async throws {
    try await within {
      while true {
        for directory in try await leftovers(of: key) {
          let ids = FileManager.default.contents(atPath: "\(directory)/inputs") ?? Data()
          if ids.split(separator: UInt8(ascii: "\n")).count >= count { return }
        }
        try await Task.sleep(for: .milliseconds(5))
      }
    }
  }

  private func waitForFile(_ name: String, _ text: String, of key: String) async throws {
    try await within {
      while true {
        for directory in try await leftovers(of: key) {
          let content = FileManager.default.contents(atPath: "\(directory)/\(name)") ?? Data()
          if String(decoding: content, as: UTF8.self).contains(text) { return }
        }
        try await Task.sleep(for: .milliseconds(5))
      }
    }
  }

  /// Whether a shim is gone. Here all servers are one process, and the shim of one is a child of all.
  static func hasEnded(_ shim: Int32) -> Bool { waitpid(shim, nil, WNOHANG) != 0 || kill(shim, 0) == -1 }

  /// Ends what servers have left running, as turns go on without them.
  private static func endSandboxes(_ data: String) async {
    let backend = ProcessSandbox(shim: shim, environment: [:])
    let files = FileManager.default
    for session in (try? files.contentsOfDirectory(atPath: "\(data)/sessions")) ?? [] {
      let root = "\(data)/sessions/\(session)/sandboxes"
      for id in (try? files.contentsOfDirectory(atPath: root)) ?? [] {
        _ = await backend.stopLeftover(directory: "\(root)/\(id)", fence: .max)
      }
    }
  }

  /// The process ids of the shims that keep a session's harnesses.
  func shims(of key: String) async throws -> [Int32] {
    try await leftovers(of: key).compactMap { directory in
      FileManager.default.contents(atPath: "\(directory)/pid")
        .flatMap { Int32(String(decoding: $0, as: UTF8.self).split(separator: "\n").first ?? "") }
    }
  }
}

extension WallClock {
  static let system = WallClock {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Timestamp(milliseconds: Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000)
  }
}

/// No sandbox of these tests calls a model: their sockets are names that nobody listens at.
struct NoWayOut: SandboxGateway {
  func open(
    sandbox: String, session: SessionID, harness: HarnessName, persona: String?
  ) async throws -> SandboxSockets { SandboxSockets(model: "/tmp/no-gateway/\(sandbox)/model.sock") }

  func close(sandbox: String) async {}
}
