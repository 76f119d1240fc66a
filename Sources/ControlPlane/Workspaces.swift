import Logging
import Sandbox
import SessionModel

/// Makes sessions' workspaces, each once: a first turn and a first file may both ask for it at the same time.
///
/// Concurrency: the actor guards one dictionary of the makings that are under way. Each belongs to the call that began
/// it, which waits for its end.
actor Workspaces {
  private var underWay: [SessionID: Task<Void, any Error>] = [:]

  /// - Throws: `CentaurError` with `workspaceFailed`
  func make(for session: Session, _ services: SessionDrive.Services) async throws {
    let configuration = services.configuration
    let directories = SessionDirectories(data: configuration.dataDirectory, session: session.id)
    if let task = underWay[session.id] { return try await task.value }
    let task = Task {
      do {
        try await Workspace.make(
          directories.workspace, from: configuration.workspace(of: session), limit: configuration.limits.sandbox.disk)
      } catch let failure as WorkspaceFailure {
        services.logger.error(
          "a workspace could not be made",
          metadata: ["session": "\(session.id)", "error": "\(failure.message)", "detail": "\(failure.detail)"])
        throw CentaurError(.workspaceFailed, "The session's workspace could not be made: \(failure.message)")
      }
    }
    underWay[session.id] = task
    defer { underWay[session.id] = nil }
    try await task.value
  }
}
