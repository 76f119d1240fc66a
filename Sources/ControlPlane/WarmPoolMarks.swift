import FoundationEssentials
import SessionModel

/// Which sessions' directories are a warm pool's: a file for each, `<data>/pool/<id>`, that names the server. It is there before the
/// directory and goes after it, or when a session has taken it: so a server finds what a killed one left, and never
/// takes a session's files for a pool's.
struct WarmPoolMarks: Sendable {
  private let root: String

  private let node: String

  init(data: String, node: String) {
    root = "\(data)/pool"
    self.node = node
  }

  /// - Throws: `CentaurError` with `harnessStart`
  func add(_ id: SessionID) throws(CentaurError) {
    let files = FileManager.default
    try? files.createDirectory(
      atPath: root, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    guard files.createFile(atPath: "\(root)/\(id)", contents: Data(node.utf8), attributes: [.posixPermissions: 0o600])
    else {
      throw CentaurError(.harnessStart, "The warm pool's files could not be written.")
    }
  }

  func remove(_ id: SessionID) { try? FileManager.default.removeItem(atPath: "\(root)/\(id)") }

  /// - Parameter isDead: whether a server has ended.
  func left(by isDead: (String) -> Bool) -> [SessionID] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
    // Only what can be an id of ours: a path is made of it.
    return names.filter { name in
      guard name.allSatisfy(\.isHexDigit) else { return false }
      let owner = FileManager.default.contents(atPath: "\(root)/\(name)") ?? Data()
      return owner != Data(node.utf8) && isDead(String(decoding: owner, as: UTF8.self))
    }.map(SessionID.init(rawValue:))
  }
}
