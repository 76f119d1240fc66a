import FoundationEssentials
import Glibc

/// The servers that use a data directory: each holds a file of its own, `<data>/nodes/<node>`, for as long as it lives.
/// So the others know of a lease's holder whether it has ended, and need not wait until the lease has.
struct ServerNodes: Sendable {
  private let directory: String

  init(data: String) { directory = "\(data)/nodes" }

  /// Takes the file of a server that starts, and clears away those of servers that ended long ago.
  /// - Throws: `ConfigurationError`
  func join(_ node: String) throws -> FileLock {
    let files = FileManager.default
    do {
      try files.createDirectory(
        atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
      let aDayAgo = Date(timeIntervalSinceNow: -86_400)
      for other in try files.contentsOfDirectory(atPath: directory) where isDead(other) {
        let made = try? files.attributesOfItem(atPath: path(other))[.modificationDate] as? Date
        // Not a young one: somebody may be just about to take it.
        if let made, made < aDayAgo { try? files.removeItem(atPath: path(other)) }
      }
    } catch { throw ConfigurationError("\(directory) cannot be made: \(error)") }
    for _ in 0..<100 {
      do { return try FileLock(path: path(node)) } catch {
        guard case .isHeld = error else { throw ConfigurationError("\(path(node)) cannot be made: \(error)") }
        // Somebody looked just now whether this server lives.
        usleep(10_000)
      }
    }
    throw ConfigurationError("\(path(node)) is held by another process")
  }

  /// Whether a server has ended: its file is free, or it has none.
  func isDead(_ node: String) -> Bool {
    guard Self.isName(node), FileManager.default.fileExists(atPath: path(node)) else { return true }
    do {
      _ = try FileLock(path: path(node))
      return true
    } catch { return false }
  }

  private func path(_ node: String) -> String { "\(directory)/\(node)" }

  private static func isName(_ node: String) -> Bool { !node.isEmpty && node.allSatisfy(\.isHexDigit) }
}
