public import ArgumentParser
import CentaurServer
import FoundationEssentials
import Glibc
public import Logging
import Metrics

/// `centaur serve`: the server, until SIGTERM or SIGINT.
struct ServeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "serve", abstract: "Run the server.",
    discussion: """
      Settings come from the configuration file, then from CENTAUR_LISTEN and CENTAUR_DATA, then from the options here; \
      the later one wins. When requests are answered it prints `listening on http://HOST:PORT`.
      """)

  @Option(help: ArgumentHelp("The configuration file (YAML).", valueName: "file"))
  var config: String?

  @Option(help: ArgumentHelp("Where to listen; port 0 takes a free one.", valueName: "host:port"))
  var listen: String?

  @Option(help: ArgumentHelp("The directory of the store, the workspaces and the sockets.", valueName: "dir"))
  var data: String?

  @Option(
    help: ArgumentHelp("bubblewrap, or process: agents then run with this user's rights.", valueName: "backend"))
  var sandbox: ServerConfiguration.SandboxBackendName?

  @Flag(help: "Answer model calls by a scripted model; no key and no network are needed.")
  var standInModel = false

  @Option(help: ArgumentHelp("trace, debug, info, notice, warning, error or critical.", valueName: "level"))
  var logLevel: Logger.Level = .notice

  func run() async throws {
    let environment = ProcessInfo.processInfo.environment
    let configuration: ServerConfiguration
    do {
      configuration = try Self.settings(
        config: config, listen: listen, data: data, sandbox: sandbox, standInModel: standInModel,
        environment: environment)
    } catch let error as ConfigurationError {
      throw error.refusal()
    }
    LoggingSystem.bootstrap { OneLineLog(label: $0) }
    var logger = Logger(label: "centaur")
    logger.logLevel = logLevel
    let metrics = PrometheusMetrics()
    MetricsSystem.bootstrap(metrics)
    let server = Server(
      configuration: configuration, environment: environment, metrics: metrics, logger: logger)
    do {
      try await server.run(notice: { say($0) }, onListening: { say("listening on \($0)") })
    } catch let error as ConfigurationError {
      throw error.refusal()
    }
  }

  /// - Throws: `ConfigurationError`
  static func settings(
    config: String?, listen: String? = nil, data: String?, sandbox: ServerConfiguration.SandboxBackendName? = nil,
    standInModel: Bool, environment: [String: String]
  ) throws -> ServerConfiguration {
    var configuration = try ServerConfiguration(file: config, listen: listen, data: data, environment: environment)
    if let sandbox { configuration.sandbox = sandbox }
    configuration.usesStandInModel = standInModel
    try configuration.validate()
    return configuration
  }
}

extension ServerConfiguration.SandboxBackendName: ExpressibleByArgument {}

extension Logger.Level: @retroactive ExpressibleByArgument {}

/// One line on standard output, at once: whoever started the server waits for it.
@Sendable private func say(_ line: String) {
  print(line)
  fflush(nil)
}
