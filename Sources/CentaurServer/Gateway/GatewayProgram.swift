import CShimSystem
import FoundationEssentials
import Glibc
public import Logging
import ModelGateway
import SessionModel
import StandInModel
import Synchronization

/// `centaur gateway`: the model gateway as a process. The scripted model runs in it, so that neither is cut by a
/// server's end.
public struct GatewayProgram: Sendable {
  private let data: String
  private let settings: GatewaySettings?
  private let logger: Logger

  /// - Parameters:
  ///   - data: the data directory.
  ///   - configuration: where it needs no server to tell it of providers and keys.
  public init(
    data: String, configuration: ServerConfiguration?, environment: [String: String], logger: Logger
  ) {
    self.data = data.hasPrefix("/") ? data : FileManager.default.currentDirectoryPath + "/" + data
    settings = configuration.map { Composition(configuration: $0, environment: environment).gatewaySettings }
    self.logger = logger
    centaur_be_private()
    // Each call and each connection takes two.
    _ = OpenFiles.raised()
    for variable in configuration?.providers.values.compactMap(\.apiKeyEnvironment) ?? [] {
      centaur_forget_environment(variable)
    }
  }

  /// Serves until nobody needs it, a newer one has taken over, or it is cancelled.
  /// - Throws: what the file system says
  public func run(onReady: @escaping @Sendable () -> Void) async throws {
    let model = RunningModel(logger: logger)
    let clock = WallClock { Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1000)) }
    let gateway = ModelGateway(data: data, clock: clock, logger: logger, standInModel: { await model.url() })
    let settings = settings
    let log = GatewayLog(path: GatewayFiles(data: data).log)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await log.watch() }
      try await gateway.run(settings: settings, onReady: onReady)
      group.cancelAll()
    }
    await model.end()
  }
}

/// The scripted model, started when it is first needed.
private actor RunningModel {
  private let logger: Logger
  private let port = ListeningPort()
  private var task: Task<Void, Never>?

  init(logger: Logger) { self.logger = logger }

  func url() async -> String {
    if task == nil {
      let server = StandInModelServer(host: "127.0.0.1", port: 0, logger: logger) { [port] in port.set($0) }
      task = Task { [logger] in
        do { try await server.run() } catch {
          logger.error("the scripted model ended", metadata: ["error": "\(error)"])
        }
      }
    }
    return "http://127.0.0.1:\(await port.value)"
  }

  func end() { task?.cancel() }
}
