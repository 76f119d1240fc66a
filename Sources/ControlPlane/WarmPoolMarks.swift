import FoundationEssentials
import SessionModel

/// Which sessions' directories are a warm pool's: an empty file for each, `<data>/pool/<id>`. It is there before the
/// directory and goes after it, or when a session has taken it: so a server finds what a killed one left, and never
/// takes a session's files for a pool's.
struct WarmPoolMarks: Sendable {
  private let root: String

  init(data: String) { root = "\(data)/pool" }

  /// - Throws: `CentaurError` with `harnessStart`
  func add(_ id: SessionID) throws(CentaurError) {
    let files = FileManager.default
    try? files.createDirectory(
      atPath: root, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    guard files.createFile(atPath: "\(root)/\(id)", contents: nil, attributes: [.posixPermissions: 0o600]) else {
      throw CentaurError(.harnessStart, "The warm pool's files could not be written.")
    }
  }

  func remove(_ id: SessionID) { try? FileManager.default.removeItem(atPath: "\(root)/\(id)") }

  var all: [SessionID] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
    // Only what can be an id of ours: a path is made of it.
    return names.filter { $0.allSatisfy(\.isHexDigit) }.map(SessionID.init(rawValue:))
  }
}
