import Logging
import Sandbox
import SessionModel

/// A session's rest: archived, and later without its files. Its log stays, and whoever uses it brings it back.
extension SessionDrive {
  /// Ends the session's process and says in the log that it is archived; one that is stays as it is.
  /// - Parameter force: ends turns that run or wait, which is refused otherwise.
  /// - Throws: `CentaurError` with `sessionNotFound`, `sessionBusy`
  func archive(force: Bool) async throws -> Session {
    guard try await open() else { throw sessionNotFound() }
    if force { try await endAllTurns(reason: "archived") }
    let busy = CentaurError(.sessionBusy, "A turn of this session is running.", retryAfter: .seconds(1))
    guard running == nil, queue.isEmpty, steers.isEmpty, startingProcess == nil else { throw busy }
    await stopProcess(reason: "archived")
    await lastStop?.value
    guard let session else { throw sessionNotFound() }
    if session.status != .archived { try await commit([EventDraft(.sessionArchived)]) }
    return self.session ?? session
  }

  private func endAllTurns(reason: String) async throws {
    try await endWaiting(queue, .executionCancelled(reason: reason, TurnUsage()))
    start?.cancel()
    guard try await interrupt(reason: reason) != nil else { return }
    await stopProcess(reason: reason)
  }

  /// Archives the session and removes its workspace, its harness's home and all else of it that is not the log.
  /// - Throws: `CentaurError` with `sessionNotFound`, `sessionBusy`, `fileFailed`
  func removeFiles(force: Bool) async throws -> Session {
    let session = try await archive(force: force)
    try await discardFiles(of: session)
    return self.session ?? session
  }

  /// Removes the files of a session that has been archived since `moment` or longer, unless it was used since.
  func removeFiles(archivedBefore moment: Timestamp) async throws {
    guard try await open(), let session, session.status == .archived, running == nil, queue.isEmpty, process == nil,
      startingProcess == nil, try await Retention.isDue(session, archivedBefore: moment, services.store)
    else { return }
    await lastStop?.value
    try await discardFiles(of: session)
    logger.info("an archived session's files were removed", metadata: ["session": "\(session.id)"])
  }

  private func discardFiles(of session: Session) async throws {
    let data = services.configuration.dataDirectory
    let directories = SessionDirectories(data: data, session: session.id)
    guard SessionDirectories.all(data: data).contains(session.id) else { return }
    let newest = try await services.store.events(session.id, after: session.lastSeq - 1, limit: 1).last
    if newest?.payload.isFilesRemoved != true {
      // First the log, so that files which outlive a crash here are known to be of no more use. The harness's
      // conversation goes with its home: the next process begins a new one, and is told what was said.
      try await commit(
        [
          EventDraft(
            .warning(
              code: EventPayload.filesRemovedCode,
              message: "The session's workspace and its harness's files were removed. A later turn begins with a new "
                + "workspace."))
        ], harnessState: .null)
    }
    try await services.store.removeKept(of: session.id)
    // By now another server may have the session, and these files: the store knows.
    try await commit([])
    do {
      try await Tree.discard(directories.root, trash: SessionDirectories.trash(data: data))
    } catch let failure as WorkspaceFailure {
      logger.error("a session's files could not be removed", metadata: ["error": "\(failure.detail)"])
      throw CentaurError(.fileFailed, failure.message)
    }
  }
}

extension EventPayload {
  var isFilesRemoved: Bool {
    if case .warning(EventPayload.filesRemovedCode, _) = self { true } else { false }
  }
}
