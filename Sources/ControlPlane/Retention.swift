import Logging
public import Sandbox
public import SessionModel

/// When the files of archived sessions go.
enum Retention {
  /// Whether an archived session has rested since before `moment`, or its files were to go already and did not.
  ///
  /// Its archival is the newest event of its log: whatever is written later brings the session back, or says that its
  /// files went.
  static func isDue(_ session: Session, archivedBefore moment: Timestamp, _ store: any SessionStore) async throws
    -> Bool
  {
    guard let newest = try await store.events(session.id, after: session.lastSeq - 1, limit: 1).last else {
      return false
    }
    if newest.payload.isFilesRemoved { return true }
    return newest.payload == .sessionArchived && newest.createdAt <= moment
  }
}

extension ControlPlane {
  /// Looks again and again for files that have been kept long enough, until it is cancelled.
  func keepRetention() async {
    guard let retention = services.configuration.retention else { return }
    let pause = min(max(retention / 4, .milliseconds(100)), .seconds(3600))
    repeat { await sweep() } while (try? await Task.sleep(for: pause)) != nil
  }

  /// Removes the files of sessions that have been archived for as long as they are to be kept, and what clients have kept
  /// beside sessions for as long.
  func sweep() async {
    guard let retention = services.configuration.retention else { return }
    let moment = services.clock.now + (.zero - retention)
    do { try await services.store.removeKept(before: moment) } catch {
      logger.error("what clients keep beside sessions stays", metadata: ["error": "\(error)"])
    }
    for id in SessionDirectories.all(data: services.configuration.dataDirectory) {
      if Task.isCancelled { return }
      do {
        guard let session = try await services.store.session(id), session.status == .archived,
          try await Retention.isDue(session, archivedBefore: moment, services.store)
        else { continue }
        try await ask(session.owner, session.key) { drive in
          try await drive.serially { try await $0.removeFiles(archivedBefore: moment) }
        }
      } catch {
        logger.error("an archived session's files stay", metadata: ["session": "\(id)", "error": "\(error)"])
      }
    }
  }

  // MARK: For the session API

  /// Puts a session to rest: its process ends, its files and its log stay. Whoever uses it brings it back.
  /// - Parameter force: ends turns that run or wait.
  /// - Throws: `CentaurError` with `sessionNotFound`, `sessionBusy`
  public func archive(owner: Owner, key: ThreadKey, force: Bool) async throws -> Session {
    _ = try await session(owner: owner, key: key)
    return try await ask(owner, key) { drive in try await drive.serially { try await $0.archive(force: force) } }
  }

  /// Archives a session and removes its workspace and its harness's files; the log stays.
  /// - Parameter force: ends turns that run or wait.
  /// - Throws: `CentaurError` with `sessionNotFound`, `sessionBusy`, `fileFailed`
  public func remove(owner: Owner, key: ThreadKey, force: Bool) async throws -> Session {
    _ = try await session(owner: owner, key: key)
    return try await ask(owner, key) { drive in try await drive.serially { try await $0.removeFiles(force: force) } }
  }

  /// The files of a session's workspace.
  /// - Parameter makes: makes a workspace that is not there yet, as the first turn would.
  /// - Throws: `CentaurError` with `sessionNotFound`, `fileNotFound`, `sessionArchived`, `workspaceFailed`
  public func files(owner: Owner, key: ThreadKey, makes: Bool) async throws -> WorkspaceFiles {
    let session = try await session(owner: owner, key: key)
    let directories = SessionDirectories(data: services.configuration.dataDirectory, session: session.id)
    if makes {
      // What is put into it would go with the rest when its time has come.
      guard session.status == .active else {
        throw CentaurError(
          .sessionArchived, "The session is archived. A message or a turn brings it back; then files can be written.")
      }
      try directories.create()
      try await services.workspaces.make(for: session, services)
    }
    return try await WorkspaceFiles(workspace: directories.workspace)
  }

  /// What a session's workspace takes on the disk, in bytes.
  public nonisolated func workspaceSize(_ session: SessionID) async -> Int {
    let data = services.configuration.dataDirectory
    return await Tree.size(SessionDirectories(data: data, session: session).workspace)
  }
}
