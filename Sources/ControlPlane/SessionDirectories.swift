import FoundationEssentials
import SessionModel

/// Where a session's files are: `<data>/sessions/<id>/…`, mode 0700.
struct SessionDirectories: Sendable {
  let root: String

  init(data: String, session: SessionID) { root = "\(data)/sessions/\(session.rawValue)" }

  /// Where the agent works.
  var workspace: String { "\(root)/workspace" }
  /// The harness's own home.
  var home: String { "\(root)/home" }
  var temporary: String { "\(root)/tmp" }
  /// The shim's files for one sandbox.
  func sandbox(_ id: String) -> String { "\(root)/sandboxes/\(id)" }

  /// Makes what is missing; a new workspace is a copy of `template`, where there is one.
  /// - Throws: `CentaurError` with `harnessStart`
  func create(template: String?) throws(CentaurError) {
    let files = FileManager.default
    let owner: [FileAttributeKey: Any] = [.posixPermissions: 0o700]
    do {
      for path in [root, home, temporary, "\(root)/sandboxes"] {
        try files.createDirectory(atPath: path, withIntermediateDirectories: true, attributes: owner)
      }
      guard !files.fileExists(atPath: workspace) else { return }
      if let template {
        // It appears whole or not at all: half a copy would be taken for the workspace the next time.
        let copy = "\(root)/workspace.new"
        if files.fileExists(atPath: copy) { try files.removeItem(atPath: copy) }
        try files.copyItem(atPath: template, toPath: copy)
        try files.moveItem(atPath: copy, toPath: workspace)
      } else {
        try files.createDirectory(atPath: workspace, withIntermediateDirectories: true, attributes: owner)
      }
    } catch {
      throw CentaurError(.harnessStart, "The session's workspace could not be made.")
    }
  }

  /// The ids of sandboxes whose files are still there.
  var sandboxes: [String] { (try? FileManager.default.contentsOfDirectory(atPath: "\(root)/sandboxes")) ?? [] }

  /// The sessions that have any. It looks into the directory of every session, which takes its time.
  static func withSandboxes(data: String) async -> Set<SessionID> {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "\(data)/sessions")) ?? []
    let sessions = names.lazy.map { SessionID(rawValue: $0) }
    return Set(sessions.filter { !SessionDirectories(data: data, session: $0).sandboxes.isEmpty })
  }

  /// Removes all of it, of a session that never came to be.
  func remove() { try? FileManager.default.removeItem(atPath: root) }

  func removeSandbox(_ id: String) { try? FileManager.default.removeItem(atPath: sandbox(id)) }
}
