import ArgumentParser
import CentaurServer
import FoundationEssentials
import Glibc
import Logging
import UnixSignals

/// `centaur gateway`: the model gateway of a data directory. `serve` starts one where none runs.
struct GatewayCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "gateway", abstract: "Run the model gateway of a data directory; `serve` does so by itself.",
    discussion: """
      It takes the place of one that runs already, which ends after its last call. With a configuration file it knows \
      its providers and keys at once; without one a server tells it. It ends when it has neither sandboxes nor a server.
      """)

  @Option(help: ArgumentHelp("The configuration file (YAML).", valueName: "file"))
  var config: String?

  @Option(help: ArgumentHelp("The directory of the store, the workspaces and the sockets.", valueName: "dir"))
  var data: String?

  @Flag(help: "Answer model calls by a scripted model; no key and no network are needed.")
  var standInModel = false

  @Option(help: ArgumentHelp("trace, debug, info, notice, warning, error or critical.", valueName: "level"))
  var logLevel: Logger.Level = .notice

  func run() async throws {
    let environment = ProcessInfo.processInfo.environment
    var configuration: ServerConfiguration?
    var directory = ServerConfiguration().data
    do {
      if config != nil || standInModel {
        let settings = try ServeCommand.settings(
          config: config, data: data, standInModel: standInModel, environment: environment)
        directory = settings.data
        configuration = settings
      } else if let data = data ?? environment["CENTAUR_DATA"] {
        directory = data
      }
    } catch let error as ConfigurationError {
      throw error.refusal()
    }
    LoggingSystem.bootstrap { OneLineLog(label: $0) }
    var logger = Logger(label: "centaur.gateway")
    logger.logLevel = logLevel
    let program = GatewayProgram(
      data: directory, configuration: configuration, environment: environment, logger: logger)
    let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        try await program.run {
          print("ready")
          fflush(nil)
        }
      }
      group.addTask { for await _ in signals { return } }
      try await group.next()
      group.cancelAll()
    }
  }
}
