public import ArgumentParser
import CentaurServer
public import Logging

/// Where the settings and the data are, as every command that works on a data directory asks.
struct PlaceOptions: ParsableArguments {
  @Option(help: ArgumentHelp("The configuration file (YAML).", valueName: "file"))
  var config: String?

  @Option(help: ArgumentHelp("The directory of the store, the workspaces and the sockets.", valueName: "dir"))
  var data: String?
}

/// How agents are kept apart from this machine.
struct SandboxOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp("bubblewrap, or process: agents then run with this user's rights.", valueName: "backend"))
  var sandbox: ServerConfiguration.SandboxBackendName?
}

/// Of the programs that run until they are told to end.
struct ProgramOptions: ParsableArguments {
  @Flag(help: "Answer model calls by a scripted model; no key and no network are needed.")
  var standInModel = false

  @Option(help: ArgumentHelp("trace, debug, info, notice, warning, error or critical.", valueName: "level"))
  var logLevel: Logger.Level = .notice
}

extension ServerConfiguration {
  /// What the file, the environment and the options come to.
  /// - Throws: `ConfigurationError`
  init(
    _ place: PlaceOptions, listen: String? = nil, sandbox: SandboxOptions? = nil, standInModel: Bool = false,
    environment: [String: String]
  ) throws {
    try self.init(file: place.config, listen: listen, data: place.data, environment: environment)
    if let backend = sandbox?.sandbox { self.sandbox = backend }
    usesStandInModel = standInModel
    try validate()
  }
}

extension ServerConfiguration.SandboxBackendName: ExpressibleByArgument {}

extension Logger.Level: @retroactive ExpressibleByArgument {}
