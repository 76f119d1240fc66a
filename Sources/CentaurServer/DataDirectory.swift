import CShimSystem
import FoundationEssentials
import Glibc
import SQLiteStore
import SessionModel

/// The server's files: store, sessions, sockets. Several servers may use one data directory: a session is driven by one of
/// them, which its lease says.
struct DataDirectory: ~Copyable {
  /// Absolute.
  let path: String
  /// Earlier versions took it for themselves alone.
  private let lock: FileLock
  private let node: FileLock

  /// Makes the directory (mode 0700) and joins those who use it, until this value is gone.
  /// - Parameter node: this server's name on leases.
  /// - Throws: `ConfigurationError`
  init(_ path: String, node: String) throws {
    let absolute = try Self.make(path)
    let lock = try Self.share(absolute)
    let node = try ServerNodes(data: absolute).join(node)
    self.lock = lock
    self.node = node
    self.path = absolute
  }

  /// Makes the directory where it is not there, open to its user alone.
  /// - Returns: its absolute path
  /// - Throws: `ConfigurationError`
  static func make(_ path: String) throws -> String {
    let absolute = absolute(path)
    do {
      try FileManager.default.createDirectory(
        atPath: absolute, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
      // One that was there before may be open to others.
      try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: absolute)
    } catch {
      let reason = ((error as? CocoaError)?.underlying as? POSIXError).map {
        String(cString: strerror($0.code.rawValue))
      }
      throw ConfigurationError("the data directory \(absolute) cannot be made: \(reason ?? "\(error)")")
    }
    return absolute
  }

  /// One spelling for one directory: shims of earlier servers are known by theirs.
  static func absolute(_ path: String) -> String {
    let base = URL(filePath: FileManager.default.currentDirectoryPath + "/")
    let standard = URL(filePath: path, relativeTo: base).standardizedFileURL.path(percentEncoded: false)
    return standard.count > 1 && standard.hasSuffix("/") ? String(standard.dropLast()) : standard
  }

  /// Of a data directory's store, which may not be there yet.
  static func storePath(in path: String) -> String { "\(absolute(path))/centaur.sqlite" }

  /// The keys that were made for a data directory, which is not changed.
  /// - Throws: `CentaurError` with `storeUnavailable`
  static func keys(in path: String) async throws -> [AccessKey] {
    let store = storePath(in: path)
    return FileManager.default.fileExists(atPath: store) ? try await SQLiteStore.keys(in: store) : []
  }

  private static func share(_ path: String) throws -> FileLock {
    do {
      return try FileLock(path: "\(path)/lock", isShared: true)
    } catch {
      switch error {
      case .isHeld:
        throw ConfigurationError("a server of an earlier version uses the data directory \(path); stop it first")
      case .cannotOpen(let reason): throw ConfigurationError("the data directory \(path) cannot be used: \(reason)")
      }
    }
  }

  var storePath: String { Self.storePath(in: path) }
}
