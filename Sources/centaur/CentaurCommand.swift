import ArgumentParser

/// The command line. Each command is a file of its own; what they do is in `CentaurServer`.
@main
struct CentaurCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "centaur",
    abstract: "Runs coding agents as durable sessions; clients written for a bare model drive them.",
    version: "0.1.0",
    subcommands: [ServeCommand.self, GatewayCommand.self, SessionsCommand.self, KeysCommand.self, DoctorCommand.self])
}
