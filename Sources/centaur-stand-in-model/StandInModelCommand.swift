import ArgumentParser
import Glibc
import Logging
import StandInModel

/// The scripted model as a program of its own, for tests of harnesses and of the gateway.
@main
struct StandInModelCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "centaur-stand-in-model",
    abstract: "A scripted model behind /v1/responses and /v1/messages. It understands nothing; it follows its script.")

  @Option(help: ArgumentHelp("Where to listen; port 0 takes a free one.", valueName: "host:port"))
  var listen = "127.0.0.1:0"

  func run() async throws {
    guard let colon = listen.lastIndex(of: ":"), let port = Int(listen[listen.index(after: colon)...]) else {
      throw ValidationError("the address to listen on must be HOST:PORT, not '\(listen)'")
    }
    let host = String(listen[..<colon])
    LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
    try await StandInModelServer(host: host, port: port, logger: Logger(label: "stand-in-model")) { port in
      print("listening on http://\(host):\(port)")
      fflush(nil)
    }.run()
  }
}
