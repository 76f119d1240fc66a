import Sandbox

/// The backend that the configuration asks for, once it has shown that it works here.
struct SandboxChoice {
  let configuration: ServerConfiguration
  let environment: [String: String]
  let shim: String

  /// - Parameter data: where a trial's files are made.
  /// - Throws: `ConfigurationError`, where isolation was asked for and cannot be had: agents never run without it
  ///   unknowingly.
  func backend(data: String) async throws -> any SandboxBackend {
    switch configuration.sandbox {
    case .process: return ProcessSandbox(shim: shim, environment: environment)
    case .bubblewrap:
      let check = await check(data: data)
      if let sandbox = check.sandbox { return sandbox }
      let failed = check.findings.last { !$0.isGood }
      throw ConfigurationError(
        """
        sandbox: bubblewrap cannot work here: \(failed.map { "\($0.name): \($0.text)" } ?? "it was not tried")
        `centaur doctor` tells more. To run agents without isolation, with this user's rights, knowingly: \
        `sandbox: process` in the configuration file, or --sandbox process.
        """)
    }
  }

  func check(data: String) async -> BubblewrapCheck {
    await BubblewrapCheck.run(
      shim: shim, directory: data, readable: configuration.sandboxPaths,
      path: environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin")
  }
}
