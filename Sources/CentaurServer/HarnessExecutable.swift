import FoundationEssentials

/// Finds a harness's executable: the configuration's, else the project's own virtual environment, else `PATH`.
enum HarnessExecutable {
  /// - Returns: an absolute path. Where nothing is found, the place where it was expected: a turn that needs it then
  ///   fails and says so, and the server serves what it can.
  static func path(_ program: String, configured: String?, environment: [String: String]) -> String {
    let here = FileManager.default.currentDirectoryPath
    if let configured { return configured.hasPrefix("/") ? configured : "\(here)/\(configured)" }
    let searched = (environment["PATH"] ?? "").split(separator: ":").map {
      $0.hasPrefix("/") ? "\($0)" : "\(here)/\($0)"
    }
    return (["\(here)/.venv/bin"] + searched).lazy.map { "\($0)/\(program)" }.first(where: isProgram)
      ?? "\(here)/.venv/bin/\(program)"
  }

  /// A directory may be entered, which counts as executable.
  private static func isProgram(_ path: String) -> Bool {
    var isDirectory = false
    return FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) && !isDirectory
      && FileManager.default.isExecutableFile(atPath: path)
  }
}
