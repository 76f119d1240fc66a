import FoundationEssentials

/// Finds a harness's executable: the configuration's, else the project's own virtual environment, else `PATH`.
enum HarnessExecutable {
  /// - Returns: an absolute path. Where nothing is found, the place where it was expected: a turn that needs it then
  ///   fails and says so, and the server serves what it can.
  static func path(_ program: String, configured: String?, environment: [String: String]) -> String {
    let here = FileManager.default.currentDirectoryPath
    if let configured { return configured.hasPrefix("/") ? configured : "\(here)/\(configured)" }
    let searched = ["\(here)/.venv/bin"] + (environment["PATH"] ?? "").split(separator: ":").map(String.init)
    for directory in searched where FileManager.default.isExecutableFile(atPath: "\(directory)/\(program)") {
      return "\(directory)/\(program)"
    }
    return "\(here)/.venv/bin/\(program)"
  }
}
