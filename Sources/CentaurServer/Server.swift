import CShimSystem
import ControlPlane
import FoundationEssentials
import Ingress
import Harness
import Hummingbird
import HummingbirdCore
public import Logging
import NIOCore
import ResponsesIngress
import SQLiteStore
import Sandbox
import ServiceLifecycle
import SessionModel
import UnixSignals

/// The whole server: the rooms put together, started and ended in order.
///
/// Lifecycle: everything that runs is a service of one group. On SIGTERM and SIGINT the control plane ends first, and
/// with it the streams that its sessions feed; then the HTTP servers have nothing left to wait for.
public struct Server: Sendable {
  private let configuration: ServerConfiguration
  private let environment: [String: String]
  private let metrics: PrometheusMetrics
  private let logger: Logger

  public init(
    configuration: ServerConfiguration, environment: [String: String], metrics: PrometheusMetrics, logger: Logger
  ) {
    self.configuration = configuration
    self.environment = environment
    self.metrics = metrics
    self.logger = logger
  }

  /// Serves until the process is told to end.
  /// - Parameters:
  ///   - notice: says what a person must know at start: what is scripted, what is not isolated.
  ///   - onListening: is called once with the address, when requests are answered.
  /// - Throws: `ConfigurationError`, `CannotListen`, `CentaurError` of the store
  public func run(
    notice: @escaping @Sendable (String) -> Void, onListening: @escaping @Sendable (String) -> Void
  ) async throws {
    try await checkAccess(notice: notice)
    try await CannotListen.check(configuration.listen)
    // The keys are copied by now: agents that run as the same user must not find them here.
    centaur_be_private()
    for provider in configuration.providers.values {
      if let variable = provider.apiKeyEnvironment { centaur_forget_environment(variable) }
    }
    let files = OpenFiles.raised()
    if let warning = files.notice(configuration.limits) { notice(warning) }
    let connections = ConnectionCount(limit: files.connections(configuration.limits))
    let clock = WallClock { Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1000)) }
    let ids = IdentifierSource { UInt64(clock.now.milliseconds) }
    let node = ids.thread()
    let data = try DataDirectory(configuration.data, node: node)
    let store = try SQLiteStore(path: data.storePath)
    let uses = KeyUses(limits: configuration.limits, clock: clock)
    if try await store.standing(of: nil) != .noKeys { uses.seeKeys() }
    let composition = Composition(configuration: configuration, environment: environment)
    let gateway = try GatewayLink(
      data: data.path, composition: composition, program: try Composition.programPath(), logger: logger)
    let choice = SandboxChoice(
      configuration: configuration, environment: environment, shim: try Composition.shimPath())
    let backend = try await choice.backend(data: data.path)
    if let warning = backend.startupNotice { notice(warning) }
    for warning in composition.missingKeys { notice(warning) }
    if configuration.usesStandInModel {
      notice("model: scripted stand-in — no model is asked, answers follow a script")
    }
    let controlPlane = ControlPlane(
      store: store, sandboxes: backend,
      configuration: composition.controlPlane(
        data: data.path, node: node, gateway: gateway),
      clock: clock, ids: ids, logger: logger)
    let routes = ServerRoutes(
      configuration: configuration, controlPlane: controlPlane, store: store, keys: store, uses: uses, clock: clock,
      ids: ids, metrics: metrics, connections: connections)
    let limits = configuration.limits
    var logger = logger
    logger.logLevel = max(logger.logLevel, .notice)
    let application = Application(
      router: routes.router(),
      server: HTTPServerBuilder { responder in
        TargetedHTTP1(
          HTTP1Channel(
            responder: responder,
            configuration: .init(
              additionalChannelHandlers: [
                ConnectionBounds(connections, writeStall: limits.writeStall), ClientPresenceHandler(),
                WebSocketUpgrade(
                  WebSocketRules(
                    messageSize: limits.body, pingInterval: limits.keepAlive, longestSilence: limits.idleConnection)),
              ],
              idleTimeout: TimeAmount(limits.idleConnection))))
      },
      configuration: .init(
        address: .hostname(configuration.listen.host, port: configuration.listen.port), serverName: nil),
      onServerRunning: { channel in
        var address = configuration.listen
        address.port = channel.localAddress?.port ?? 0
        onListening("http://\(address)")
      },
      logger: logger)
    var group = ServiceGroupConfiguration(
      services: [application, gateway, controlPlane, KeyWatch(keys: store, uses: uses, logger: logger)],
      gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
    group.maximumGracefulShutdownDuration = .seconds(20)
    group.maximumCancellationDuration = .seconds(5)
    try await ServiceGroup(configuration: group).run()
  }

  /// Listens where others are only if they are asked for keys.
  /// - Throws: `ConfigurationError`, `CentaurError` of the store
  private func checkAccess(notice: (String) -> Void) async throws {
    let address = configuration.listen
    guard !address.isLoopback else { return }
    try configuration.validateListen(hasKeys: try await !DataDirectory.keys(in: configuration.data).isEmpty)
    notice("listen: \(address.host) is reached by others, and there is no TLS: put a proxy with TLS before it")
  }
}
