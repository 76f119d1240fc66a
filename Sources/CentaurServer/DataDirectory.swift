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
      // One that was there before may be open to others.
      try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: absolute)
    } catch {
      throw ConfigurationError("the data directory \(absolute) cannot be made: \(error)")
    }
    do {
      lock = try FileLock(path: "\(absolute)/lock")
    } catch {
      switch error {
      case .isHeld: throw ConfigurationError("another server uses the data directory \(absolute)")
      case .cannotOpen(let reason):
        throw ConfigurationError("the data directory \(absolute) cannot be used: \(reason)")
      }
    }
    self.path = absolute
  }

  var storePath: String { "\(path)/centaur.sqlite" }
}
