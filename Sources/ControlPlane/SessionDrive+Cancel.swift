import SessionModel

/// How a client ends a turn. All of it may be asked for again and again: a turn ends once, and one that is over stays as
/// it is.
extension SessionDrive {
  /// Ends one turn, whether it runs or waits; a turn that is over stays as it is.
  func cancel(_ id: ExecutionID, reason: String) async throws {
    guard try await open() else { return }
    if running?.execution.id == id {
      try await interrupt(reason: reason)
    } else if let turn = queue.first(where: { $0.execution.id == id }) {
      try await endWaiting([turn], .executionCancelled(reason: reason, TurnUsage()))
      // Nobody needs the place that it waits for.
      if queue.isEmpty, process == nil { start?.cancel() }
    }
  }

  /// Forgets an answer, and ends its turn where no other answer shows it.
  func forget(_ reply: Reply) async throws {
    guard try await open() else { return }
    try await commit([], forgets: [reply.wireID])
    let replies = try await services.store.replies(reply.executionID)
    guard replies.last?.wireID == reply.wireID, !replies.contains(where: \.isKept) else { return }
    try await cancel(reply.executionID, reason: "deleted")
  }

  /// Ends the turn that the client names; else the one that runs, or, where none does, the one that would be next.
  ///
  /// Without a name a repeated request would end the turn behind the one that its user meant. `repeatKey` tells: what it
  /// stood for first it stands for always, and is kept with the session.
  /// - Returns: the turn as it is now; one that ran has its end only when the harness confirms it
  /// - Throws: `CentaurError` with `sessionNotFound`, `executionNotFound`, `nothingRunning`, `idempotencyConflict`
  func interrupt(_ named: ExecutionID?, repeatKey: String?, reason: String) async throws -> Execution {
    guard try await open(), let session else { throw sessionNotFound() }
    let input = repeatKey.map { "interrupt:\($0)" }
    let earlier = try await turnTaking(input, in: session)
    if let earlier, let named, earlier != named {
      throw CentaurError(.idempotencyConflict, "Another turn was interrupted under this Idempotency-Key.")
    }
    guard let id = named ?? earlier ?? running?.execution.id ?? queue.first?.execution.id else {
      throw CentaurError(.nothingRunning, "No turn of this session runs or waits.")
    }
    guard let found = try await services.store.execution(id), found.sessionID == session.id else {
      throw CentaurError(
        .executionNotFound, "This session has no turn with the id '\(id.rawValue.prefix(64))'.",
        parameter: "execution_id")
    }
    if let input, named == nil, earlier == nil { try await commit([], takes: [input: id]) }
    // Also where the key is known: the server may have died between the two.
    if !found.status.isTerminal { try await cancel(id, reason: reason) }
    return try await services.store.execution(id) ?? found
  }

  private func turnTaking(_ input: String?, in session: Session) async throws -> ExecutionID? {
    guard let input else { return nil }
    return try await services.store.takers(session.id, clientIDs: [input])[input]?.execution
  }
}
