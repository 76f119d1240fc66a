public import SessionModel

/// Turns that are there: shown again, and ended.
extension ControlPlane {
  /// A turn by the wire id of one of its replies. Starts nothing, and asks the session's drive only where the turn's
  /// events are yet to come: one that is over is read from the log alone.
  /// - Parameter isFollowed: its events come as they are written; else they end with the newest that is in the log.
  /// - Throws: `CentaurError` with `responseNotFound`
  public func turn(owner: Owner, replyID: String, isFollowed: Bool) async throws -> AdmittedTurn {
    let store = services.store
    guard let reply = try await store.reply(owner: owner, wireID: replyID),
      let execution = try await store.execution(reply.executionID),
      // Read last: its log holds whatever the turn's status says.
      let session = try await store.session(reply.sessionID)
    else {
      throw CentaurError.responseNotFound(replyID)
    }
    let after = reply.firstSeq(of: execution) - 1
    let events =
      if isFollowed, !execution.status.isTerminal {
        try await self.events(owner: owner, key: session.key, after: after)
      } else {
        EventFeed(log: session.id, to: execution.terminalSeq ?? session.lastSeq, store: store).subscribe(after: after)
      }
    return AdmittedTurn(session: session, execution: execution, reply: reply, isReplay: true, events: events)
  }

  /// Whether another answer has taken the place of this one: its turn waited for its client, or was steered.
  public func isFollowed(_ turn: AdmittedTurn) async throws -> Bool {
    try await services.store.replies(turn.execution.id).last?.wireID != turn.reply.wireID
  }

  /// Makes a response unknown. Its turn stays in the log; one that is not over is ended, as nobody can come back for it.
  /// - Throws: `CentaurError` with `responseNotFound`
  public func forget(owner: Owner, replyID: String) async throws {
    let turn = try await turn(owner: owner, replyID: replyID, isFollowed: false)
    try await ask(owner, turn.session.key) { drive in
      try await drive.serially { try await $0.forget(turn.reply) }
    }
  }

  /// Ends a turn because its client went away; where that cannot be done, the log says why.
  public func cancel(_ turn: AdmittedTurn, reason: String) async {
    do {
      try await end(turn, reason: reason)
    } catch { logger.error("a turn could not be cancelled", metadata: ["error": "\(error)"]) }
  }

  /// Ends a turn because its client asks for it. One that is over stays as it is; one that runs has its end only when
  /// the harness confirms it.
  /// - Throws: `CentaurError`
  public func end(_ turn: AdmittedTurn, reason: String) async throws {
    let execution = turn.execution.id
    try await ask(turn.session.owner, turn.session.key) { drive in
      try await drive.serially { try await $0.cancel(execution, reason: reason) }
    }
  }

  /// Ends the turn that is named; else the one that runs, or, where none does, the one that would be next.
  /// - Parameter repeatKey: stands for the turn that it ended first: the same request, sent again, ends no other.
  /// - Returns: the turn as it is now
  /// - Throws: `CentaurError` with `sessionNotFound`, `executionNotFound`, `nothingRunning`, `idempotencyConflict`
  public func interrupt(
    owner: Owner, key: ThreadKey, execution: ExecutionID? = nil, repeatKey: String? = nil, reason: String
  ) async throws -> Execution {
    _ = try await session(owner: owner, key: key)
    return try await ask(owner, key) { drive in
      try await drive.serially { try await $0.interrupt(execution, repeatKey: repeatKey, reason: reason) }
    }
  }
}

extension EventFeed {
  /// A log up to an event that it has, for those who want no more than that.
  convenience init(log: SessionID, to head: Int64, store: any SessionStore) {
    self.init(sessionID: log, head: head, store: store)
    close()
  }
}
