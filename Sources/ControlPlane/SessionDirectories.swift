import FoundationEssentials
import Sandbox
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

  func place(of sandbox: String, _ limits: ControlPlaneConfiguration.Limits) -> SandboxPlace {
    SandboxPlace(
      id: sandbox, directory: self.sandbox(sandbox), workspace: workspace, home: home, temporary: temporary,
      limits: limits.sandbox)
  }

  /// Makes what is missing but the workspace, which `Workspaces` makes.
  /// - Throws: `CentaurError` with `harnessStart`
  func create() throws(CentaurError) {
    do {
      for path in [root, home, temporary, "\(root)/sandboxes"] {
        try FileManager.default.createDirectory(
          atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
      }
    } catch {
      throw CentaurError(.harnessStart, "The session's directories could not be made.")
    }
  }

  /// - Throws: `CentaurError` with `harnessStart`
  func create(sandbox id: String) throws(CentaurError) {
    do {
      try FileManager.default.createDirectory(
        atPath: sandbox(id), withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    } catch { throw CentaurError(.harnessStart, "The sandbox's directory could not be made.") }
  }

  /// Where directories go that are to be removed.
  static func trash(data: String) -> String { "\(data)/trash" }

  /// The ids of sandboxes whose files are still there.
  var sandboxes: [String] { (try? FileManager.default.contentsOfDirectory(atPath: "\(root)/sandboxes")) ?? [] }

  /// The sessions that have any. It looks into the directory of every session, which takes its time.
  static func withSandboxes(data: String) async -> Set<SessionID> {
    Set(all(data: data).filter { !SessionDirectories(data: data, session: $0).sandboxes.isEmpty })
  }

  /// The sessions that have files.
  static func all(data: String) -> [SessionID] {
    ((try? FileManager.default.contentsOfDirectory(atPath: "\(data)/sessions")) ?? []).map(SessionID.init(rawValue:))
  }

  /// Removes all of it, of a session that never came to be.
  func remove() { try? FileManager.default.removeItem(atPath: root) }

  func removeSandbox(_ id: String) { try? FileManager.default.removeItem(atPath: sandbox(id)) }
}
