import AsyncHTTPClient
import FoundationEssentials
import Glibc
public import Logging
import NIOCore
public import SessionModel
import Synchronization

/// The way out of a node's sandboxes: to the model, and where a grant says so to named hosts.
///
/// It knows a sandbox by the socket that it was given, adds the provider's key, forwards nothing but model calls, counts
/// and writes them down. So a sandbox holds no key. It lives in a process of its own, so that a call outlives the server
/// that it serves.
///
/// Concurrency: one lock around `GatewayState`, never held across an await. Changes of sandboxes and settings are done
/// one after the other (`serially`). `run` is the one long task: it ends when a newer gateway has taken over and the last
/// call is through, when nobody needs the gateway any more, or when its data directory is gone; it is cancelled by
/// whoever ends the process.
public final class ModelGateway: Sendable {
  public let files: GatewayFiles
  let clock: WallClock
  let logger: Logger
  let audit: AuditLog
  private let standInModel: (@Sendable () async throws -> String)?
  private let resolve: EgressProxy.Resolve
  let state = Mutex(GatewayState())
  private let turns = Turns()

  /// - Parameters:
  ///   - data: the data directory, absolute.
  ///   - standInModel: gives the scripted model's base URL, and starts it where it does not run.
  public init(
    data: String, clock: WallClock, logger: Logger,
    resolve: @escaping @Sendable (_ name: String) async throws -> [EgressAddress] = SystemResolver.addresses,
    standInModel: (@Sendable () async throws -> String)? = nil
  ) {
    files = GatewayFiles(data: data)
    self.clock = clock
    self.logger = logger
    self.standInModel = standInModel
    self.resolve = resolve
    audit = AuditLog(path: files.audit, oldPath: files.oldAudit)
  }

  /// What waits its turn.
  private actor Turns {
    private var last: Task<Void, Never>?

    func run<T: Sendable>(_ body: @escaping @Sendable () async throws -> T) async throws -> T {
      let before = last
      let task = Task {
        await before?.value
        return try await body()
      }
      last = Task { _ = try? await task.value }
      return try await task.value
    }
  }

  // MARK: Life

  /// Takes the place of whoever served this directory, and serves until it is no longer needed.
  /// - Parameters:
  ///   - settings: where it needs no server to tell it.
  ///   - linger: without settings, how long it waits for a server.
  ///   - orphanAfter: how long it stays for sandboxes that no server looks after; as long as their shims do.
  ///   - onReady: is called once the control socket answers.
  /// - Throws: what the file system says
  public func run(
    settings: GatewaySettings? = nil, linger: Duration = .seconds(30), orphanAfter: Duration = .seconds(6 * 3600),
    onReady: @Sendable () -> Void = {}
  ) async throws {
    try files.create()
    // The pid of whoever listens on the control socket, as far as a file can tell.
    try GatewayFiles.write(Array("\(getpid())\n".utf8), to: files.pid)
    let controlBudget = UnixHTTP.Budget(64 << 20)
    let control = try await UnixListener.bind(
      directory: files.directory, name: GatewayFiles.controlName, limit: 256
    ) { channel in
      try UnixHTTP.setUp(
        channel, bodyLimit: 16 << 20, budget: controlBudget, admits: { await $0.isOfSameUser() }
      ) { request, answer in
        try await GatewayControl(gateway: self).answer(request, answer)
      }
    }
    if let settings { try await apply(settings) }
    onReady()
    do {
      try await watch(control, linger: linger, orphanAfter: orphanAfter)
    } catch is CancellationError {
      // The process is to end.
    }
    await end(control)
  }

  /// Looks, each second, whether a newer gateway has taken over and whether anyone still needs this one.
  private func watch(_ control: UnixListener, linger: Duration, orphanAfter: Duration) async throws {
    var idleSince = ContinuousClock.now
    var aloneSince = ContinuousClock.now
    while true {
      guard GatewayFiles.Identity(files.directory) != nil else {
        logger.notice("the data directory is gone: the gateway ends")
        return
      }
      await closeReplaced()
      let isReplaced = !control.isInPlace
      if isReplaced, !state.withLock({ $0.isReplaced }) {
        logger.notice("a newer gateway has taken over")
        state.withLock { $0.isReplaced = true }
        await control.close()
      }
      let (isIdle, patience) = state.withLock { state in
        state.closing.removeAll { $0.openConnections == 0 }
        let isFree = state.closing.isEmpty && state.sandboxes.values.allSatisfy { $0.listeners.isEmpty }
        return (
          isFree && (isReplaced || state.servers == 0), isReplaced ? .zero : state.settings?.linger ?? linger
        )
      }
      if state.withLock({ $0.servers > 0 }) { aloneSince = .now }
      if aloneSince.duration(to: .now) >= orphanAfter {
        logger.notice("no server has come back: the gateway ends")
        return
      }
      if !isIdle { idleSince = .now }
      if isIdle, idleSince.duration(to: .now) >= patience { return }
      try await Task.sleep(for: .seconds(1))
    }
  }

  /// Sandboxes that another gateway serves now: connections that are open go on.
  private func closeReplaced() async {
    let replaced = state.withLock { state -> [UnixListener] in
      var replaced: [UnixListener] = []
      for (id, sandbox) in state.sandboxes where sandbox.listeners.contains(where: { !$0.isInPlace }) {
        replaced += sandbox.listeners
        state.sandboxes[id] = nil
      }
      state.closing += replaced
      return replaced
    }
    for listener in replaced { await listener.close() }
  }

  private func end(_ control: UnixListener) async {
    await control.remove()
    let (listeners, clients) = state.withLock { state in
      (state.sandboxes.values.flatMap(\.listeners), Array(state.clients.values))
    }
    for listener in listeners { await listener.close() }
    for client in clients { try? await client.shutdown() }
  }

  // MARK: Settings

  /// Takes a server's word for where model calls go; serves the sandboxes of an earlier gateway from then on.
  /// - Throws: what the scripted model's start throws
  public func apply(_ settings: GatewaySettings) async throws {
    try await turns.run { [self] in
      var settings = settings
      if settings.usesStandInModel, let standInModel {
        let url = try await standInModel()
        for (name, provider) in settings.providers {
          settings.providers[name] = ModelProvider(
            baseURL: url, baseIncludesVersion: false, credential: provider.credential, timeout: provider.timeout)
        }
      }
      let isFirst = state.withLock { state in
        defer { state.settings = settings }
        state.providers = settings.providers.mapValues { provider in
          let client = state.clients[provider.timeout] ?? .forProviders(timeout: provider.timeout)
          state.clients[provider.timeout] = client
          return GatewayState.Provider(settings: provider, key: ProviderKey(provider.key), client: client)
        }
        return state.settings == nil
      }
      if isFirst { await takeOver() }
    }
  }

  /// The sandboxes that an earlier gateway has left, or still serves.
  private func takeOver() async {
    for name in (try? FileManager.default.contentsOfDirectory(atPath: files.grants)) ?? [] where name.hasSuffix(".json")
    {
      let id = String(name.dropLast(".json".count))
      guard let bytes = FileManager.default.contents(atPath: files.grant(id)),
        let grant = (try? JSONValue(parsing: bytes)).flatMap(GatewayGrant.init(json:))
      else { continue }
      do { try await bind(id, grant) } catch {
        logger.error("a sandbox's sockets cannot be had", metadata: ["sandbox": "\(id)", "error": "\(error)"])
      }
    }
  }

  // MARK: Sandboxes

  /// A sandbox's sockets, absolute paths in a directory that holds nothing else.
  struct Sockets: Sendable, Hashable {
    var model: String
    var egress: String?
  }

  /// Opens a sandbox's way out; one that is open is given the new grant.
  /// - Throws: what the file system says
  func open(_ sandbox: String, _ grant: GatewayGrant) async throws -> Sockets {
    try await turns.run { [self] in
      try GatewayFiles.write(grant.json.serialized, to: files.grant(sandbox))
      try await bind(sandbox, grant)
      return Sockets(
        model: "\(files.sockets(sandbox))/\(GatewayFiles.modelName)",
        egress: grant.egress == nil ? nil : "\(files.sockets(sandbox))/\(GatewayFiles.egressName)")
    }
  }

  private func bind(_ sandbox: String, _ grant: GatewayGrant) async throws {
    let directory = files.sockets(sandbox)
    try FileManager.default.createDirectory(
      atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    let ledger = state.withLock { state in
      let ledger = state.ledgers[grant.session] ?? SessionLedger(path: files.usage(grant.session))
      state.ledgers[grant.session] = ledger
      return ledger
    }
    let calls = OpenCalls()
    let budget = UnixHTTP.Budget(2 * grant.limits.body)
    let model = try await UnixListener.bind(
      directory: directory, name: GatewayFiles.modelName, limit: grant.limits.calls + Self.spareConnections
    ) { channel in
      try UnixHTTP.setUp(channel, bodyLimit: grant.limits.body, budget: budget) { [self] request, answer in
        try await call(sandbox, grant, ledger, calls, request, answer)
      }
    }
    var egress: UnixListener?
    if let rules = grant.egress {
      let proxy = EgressProxy(
        sandbox: sandbox, session: grant.session, rules: rules, audit: audit, clock: clock, resolve: resolve)
      egress = try await UnixListener.bind(
        directory: directory, name: GatewayFiles.egressName, limit: rules.connections + Self.spareConnections
      ) { channel in
        try proxy.setUp(channel)
      }
    }
    let before = state.withLock { state in
      let before = state.sandboxes.updateValue(.init(grant: grant, model: model, egress: egress), forKey: sandbox)
      state.closing += before?.listeners ?? []
      return before?.listeners ?? []
    }
    for listener in before { await listener.close() }
  }

  /// Connections beside those that are allowed, so that one too many can be told so.
  private static let spareConnections = 32

  private final class OpenCalls: Sendable {
    let count = Mutex(0)
  }

  private func call(
    _ sandbox: String, _ grant: GatewayGrant, _ ledger: SessionLedger, _ calls: OpenCalls,
    _ request: UnixHTTP.Request, _ answer: UnixHTTP.Answer
  ) async throws {
    let open = calls.count.withLock { count in
      count += 1
      return count
    }
    defer { calls.count.withLock { $0 -= 1 } }
    guard open <= grant.limits.calls else {
      let refusal = Refusal(
        CentaurError(.tooManyCalls, "This sandbox may make \(grant.limits.calls) model calls at a time."),
        uri: request.uri)
      return try await answer.send(refusal.status, body: refusal.body.serialized)
    }
    // Asked at each call: settings may be newer than the sandbox.
    let provider = state.withLock { $0.providers[grant.provider] }
    try await ModelCall(
      sandbox: sandbox, grant: grant, provider: provider, ledger: ledger, audit: audit, clock: clock, logger: logger
    ).run(request, answer)
  }

  /// Takes a sandbox's way out away; calls that are open come to their end.
  func close(_ sandbox: String) async throws {
    try await turns.run { [self] in
      let listeners = state.withLock { state in
        let closed = state.sandboxes.removeValue(forKey: sandbox)
        if let session = closed?.grant.session, !state.sandboxes.values.contains(where: { $0.grant.session == session })
        {
          // Its file has the sum, for calls that are open and for the session's next sandbox.
          state.ledgers[session] = nil
        }
        state.closing += closed?.listeners ?? []
        return closed?.listeners ?? []
      }
      unlink(files.grant(sandbox))
      for listener in listeners { await listener.remove() }
      try? FileManager.default.removeItem(atPath: files.sockets(sandbox))
    }
  }

  func usage(_ session: SessionID) -> SessionLedger.Sum {
    state.withLock { $0.ledgers[session] ?? SessionLedger(path: files.usage(session)) }.sum
  }
}
