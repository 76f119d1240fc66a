import CShimSystem
import FoundationEssentials

/// The server's files: store, sessions, sockets. One server at a time uses a data directory.
struct DataDirectory: ~Copyable {
  /// Absolute.
  let path: String
  private let lock: FileLock

  /// Makes the directory (mode 0700) and locks it until this value is gone.
  /// - Throws: `ConfigurationError`
  init(_ path: String) throws {
    let absolute = path.hasPrefix("/") ? path : FileManager.default.currentDirectoryPath + "/" + path
    do {
      try FileManager.default.createDirectory(
        atPath: absolute, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    } catch {
      throw ConfigurationError("the data directory \(absolute) cannot be made: \(error)")
    }
    guard let lock = FileLock(path: "\(absolute)/lock") else {
      throw ConfigurationError("another server uses the data directory \(absolute)")
    }
    self.lock = lock
    self.path = absolute
  }

  var storePath: String { "\(path)/centaur.sqlite" }
}
