import ArgumentParser
import CentaurServer
import FoundationEssentials
import Glibc
import Logging
import Metrics

/// `centaur serve`: the server, until SIGTERM or SIGINT.
struct ServeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "serve", abstract: "Run the server.",
    discussion: """
      Settings come from the configuration file, then from CENTAUR_LISTEN and CENTAUR_DATA, then from the options here; \
      the later one wins. When requests are answered it prints `listening on http://HOST:PORT`.
      """)

  @OptionGroup var place: PlaceOptions

  @Option(help: ArgumentHelp("Where to listen; port 0 takes a free one.", valueName: "host:port"))
  var listen: String?

  @OptionGroup var sandbox: SandboxOptions
  @OptionGroup var program: ProgramOptions

  func run() async throws {
    let environment = ProcessInfo.processInfo.environment
    let configuration: ServerConfiguration
    do {
      configuration = try ServerConfiguration(
        place, listen: listen, sandbox: sandbox, standInModel: program.standInModel, environment: environment)
    } catch let error as ConfigurationError {
      throw error.refusal()
    }
    LoggingSystem.bootstrap { OneLineLog(label: $0) }
    var logger = Logger(label: "centaur")
    logger.logLevel = program.logLevel
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
}

/// One line on standard output, at once: whoever started the server waits for it.
@Sendable private func say(_ line: String) {
  print(line)
  fflush(nil)
}
