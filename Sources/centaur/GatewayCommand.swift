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

  @OptionGroup var place: PlaceOptions
  @OptionGroup var program: ProgramOptions

  func run() async throws {
    let environment = ProcessInfo.processInfo.environment
    var configuration: ServerConfiguration?
    var directory = ServerConfiguration().data
    do {
      if place.config != nil || program.standInModel {
        let settings = try ServerConfiguration(place, standInModel: program.standInModel, environment: environment)
        directory = settings.data
        configuration = settings
      } else if let data = place.data ?? environment["CENTAUR_DATA"] {
        directory = data
      }
    } catch let error as ConfigurationError {
      throw error.refusal()
    }
    LoggingSystem.bootstrap { OneLineLog(label: $0) }
    var logger = Logger(label: "centaur.gateway")
    logger.logLevel = program.logLevel
    let gateway = GatewayProgram(
      data: directory, configuration: configuration, environment: environment, logger: logger)
    let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        try await gateway.run {
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
