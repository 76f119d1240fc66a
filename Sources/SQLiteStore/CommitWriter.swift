import FoundationEssentials
import GRDB
import SessionModel

/// Writes one session's step and keeps the projections beside the log.
struct CommitWriter {
  let db: Database
  let commit: SessionCommit

  /// - Throws: `CentaurError` with `leaseLost` or `sessionNotFound`, `StoreConflict`
  func write() throws -> CommitResult {
    let token = try commit.creation.map(create) ?? commit.token
    guard let token else { throw CentaurError(.leaseLost, "A step without the session's lease.") }
    let row = try Row.fetchOne(
      db.cachedStatement(
        sql: "SELECT rowid, next_seq, next_ordinal, lease_epoch FROM sessions WHERE id = ?"),
      arguments: [commit.session.rawValue])
    guard let row else { throw CentaurError(.sessionNotFound, "There is no such session.") }
    let session: Int64 = row[0]
    let epoch: Int64 = row[3]
    guard epoch == token.epoch else { throw CentaurError(.leaseLost, "Another server drives this session.") }
    let (events, nextOrdinal) = try append(session, firstSeq: row[1], firstOrdinal: row[2])
    try take(session, events)
    try release(session)
    try insertReplies()
    try forgetReplies()
    try updateSession(session, nextSeq: row[1] + Int64(events.count), nextOrdinal: nextOrdinal)
    return CommitResult(events: events, token: token)
  }

  private func create(_ creation: SessionCommit.Creation) throws -> FencingToken {
    let session = creation.session
    do {
      try db.cachedStatement(
        sql: """
          INSERT INTO sessions (id, owner, thread_key, harness, persona, instructions, status, created_at, next_seq,
            next_ordinal, lease_holder, lease_epoch, lease_until)
          VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, 1, ?, 1, ?)
          """
      ).execute(arguments: [
        session.id.rawValue, session.owner.rawValue, session.key.rawValue, session.harness.rawValue, session.persona,
        session.instructions, session.status.rawValue, session.createdAt.milliseconds, creation.holder,
        creation.leaseUntil.milliseconds,
      ])
    } catch let error as DatabaseError where error.resultCode == .SQLITE_CONSTRAINT {
      throw StoreConflict.threadKey
    }
    return FencingToken(epoch: 1)
  }

  private func append(
    _ session: Int64, firstSeq: Int64, firstOrdinal: Int
  ) throws -> (events: [SessionEvent], nextOrdinal: Int) {
    let insert = try db.cachedStatement(
      sql: """
        INSERT INTO events (session, seq, execution, kind, payload, created_at, source_offset, source_index)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?)
        """)
    var events: [SessionEvent] = []
    events.reserveCapacity(commit.events.count)
    // An execution begins with its first event of this step, not with `execution.queued`: its messages come before.
    var firstSeqs: [ExecutionID: Int64] = [:]
    var ordinal = firstOrdinal
    var payload: [UInt8] = []
    for draft in commit.events {
      let seq = firstSeq + Int64(events.count)
      payload.removeAll(keepingCapacity: true)
      draft.payload.json.serialize(into: &payload)
      try payload.withUnsafeBytes { bytes in
        try insert.execute(arguments: [
          session, seq, draft.executionID?.rawValue, draft.payload.kind, Data(bytes), commit.time.milliseconds,
          draft.source?.offset, draft.source?.index,
        ])
      }
      if let id = draft.executionID {
        if firstSeqs[id] == nil { firstSeqs[id] = seq }
        try project(draft.payload, id, session, seq: seq, firstSeq: firstSeqs[id] ?? seq, ordinal: &ordinal)
      }
      events.append(
        SessionEvent(
          seq: seq, sessionID: commit.session, executionID: draft.executionID, payload: draft.payload,
          createdAt: commit.time, source: draft.source))
    }
    return (events, ordinal)
  }

  private func project(
    _ payload: EventPayload, _ id: ExecutionID, _ session: Int64, seq: Int64, firstSeq: Int64, ordinal: inout Int
  ) throws {
    switch payload {
    case .executionQueued:
      try queue(payload, id, session, firstSeq: firstSeq, ordinal: ordinal)
      ordinal += 1
    case .executionStarted, .executionResumed: try setStatus(.running, id, session)
    case .executionWaiting: try setStatus(.waiting, id, session)
    case .executionCompleted: try setStatus(.completed, id, session, terminalSeq: seq)
    case .executionFailed: try setStatus(.failed, id, session, terminalSeq: seq)
    case .executionCancelled: try setStatus(.cancelled, id, session, terminalSeq: seq)
    default: break
    }
  }

  private func queue(_ payload: EventPayload, _ id: ExecutionID, _ session: Int64, firstSeq: Int64, ordinal: Int) throws
  {
    let turnKey = commit.turnKeys[id]
    do {
      try db.cachedStatement(
        sql: """
          INSERT INTO executions (id, session, ordinal, turn_key, status, options, first_seq, created_at)
          VALUES (?, ?, ?, ?, 'queued', ?, ?, ?)
          """
      ).execute(arguments: [
        id.rawValue, session, ordinal, turnKey, Data(payload.json.serialized), firstSeq, commit.time.milliseconds,
      ])
    } catch let error as DatabaseError where error.resultCode == .SQLITE_CONSTRAINT {
      throw StoreConflict.turnKey(turnKey ?? id.rawValue)
    }
  }

  private func setStatus(
    _ status: Execution.Status, _ id: ExecutionID, _ session: Int64, terminalSeq: Int64? = nil
  ) throws {
    // An execution ends once, by its own session: what comes after its terminal event does not change it.
    try db.cachedStatement(
      sql: "UPDATE executions SET status = ?, terminal_seq = ? WHERE id = ? AND session = ? AND terminal_seq IS NULL"
    ).execute(arguments: [status.rawValue, terminalSeq, id.rawValue, session])
    guard db.changesCount == 1 else {
      throw CentaurError(.internalFailure, "An event for an execution that is over or unknown.")
    }
  }

  private func take(_ session: Int64, _ events: [SessionEvent]) throws {
    guard !commit.takes.isEmpty || !commit.retakes.isEmpty else { return }
    var seqs: [String: Int64] = [:]
    for event in events {
      if case .messageAppended(let message) = event.payload, let id = message.clientID { seqs[id] = event.seq }
    }
    let insert = try db.cachedStatement(
      sql: "INSERT INTO inputs (session, client_id, execution, seq) VALUES (?, ?, ?, ?)")
    for (clientID, execution) in commit.takes {
      do {
        try insert.execute(arguments: [session, clientID, execution?.rawValue, seqs[clientID] ?? 0])
      } catch let error as DatabaseError where error.resultCode == .SQLITE_CONSTRAINT {
        throw StoreConflict.clientID(clientID)
      }
    }
    try retake(session, seqs)
  }

  private func retake(_ session: Int64, _ seqs: [String: Int64]) throws {
    guard !commit.retakes.isEmpty else { return }
    let update = try db.cachedStatement(
      sql: "UPDATE inputs SET execution = ?, seq = ? WHERE session = ? AND client_id = ?")
    for (clientID, execution) in commit.retakes {
      try update.execute(arguments: [execution.rawValue, seqs[clientID] ?? 0, session, clientID])
    }
  }

  private func release(_ session: Int64) throws {
    for execution in commit.releases {
      try db.cachedStatement(sql: "UPDATE executions SET turn_key = NULL WHERE id = ? AND session = ?")
        .execute(arguments: [execution.rawValue, session])
      try db.cachedStatement(sql: "UPDATE replies SET request_name = NULL WHERE execution = ?")
        .execute(arguments: [execution.rawValue])
      // There is no index for it: it goes through the session's inputs, and is rare.
      try db.cachedStatement(sql: "DELETE FROM inputs WHERE session = ? AND execution = ?")
        .execute(arguments: [session, execution.rawValue])
    }
  }

  private func journal(_ session: Int64) throws {
    func clear() throws {
      try db.cachedStatement(sql: "DELETE FROM harness_journal WHERE session = ?").execute(arguments: [session])
    }
    func append(_ entry: [UInt8]) throws {
      try db.cachedStatement(sql: "INSERT INTO harness_journal (session, entry) VALUES (?, ?)")
        .execute(arguments: [session, Data(entry)])
    }
    for change in commit.harnessJournal {
      switch change {
      case .append(let entry): try append(entry)
      case .restart(let entry):
        try clear()
        try append(entry)
      case .clear: try clear()
      }
    }
  }

  private func keepDigest(_ session: Int64) throws {
    guard let digest = commit.historyDigest else { return }
    try db.cachedStatement(sql: "UPDATE sessions SET history_digest = ? WHERE rowid = ?")
      .execute(arguments: [digest.value, session])
    guard let execution = digest.execution else { return }
    try db.cachedStatement(sql: "UPDATE executions SET history_digest = ? WHERE id = ? AND session = ?")
      .execute(arguments: [digest.value, execution.rawValue, session])
  }

  private func insertReplies() throws {
    for reply in commit.replies {
      do {
        try db.cachedStatement(
          sql: """
            INSERT INTO replies (wire_id, owner, session, execution, echo, created_at, is_kept, after_seq, request_name,
              request_digest)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """
        ).execute(arguments: [
          reply.wireID, reply.owner.rawValue, reply.sessionID.rawValue, reply.executionID.rawValue,
          Data(reply.echo.serialized), reply.createdAt.milliseconds, reply.isKept, reply.afterSeq,
          reply.request?.value, reply.request?.digest,
        ])
      } catch let error as DatabaseError where error.resultCode == .SQLITE_CONSTRAINT {
        throw StoreConflict.wireID(reply.wireID)
      }
    }
  }

  private func forgetReplies() throws {
    for id in commit.forgets {
      try db.cachedStatement(sql: "UPDATE replies SET is_kept = 0, is_forgotten = 1 WHERE wire_id = ? AND session = ?")
        .execute(arguments: [id, commit.session.rawValue])
    }
  }

  private func updateSession(_ session: Int64, nextSeq: Int64, nextOrdinal: Int) throws {
    try db.cachedStatement(sql: "UPDATE sessions SET next_seq = ?, next_ordinal = ? WHERE rowid = ?")
      .execute(arguments: [nextSeq, nextOrdinal, session])
    if let state = commit.harnessState {
      try db.cachedStatement(sql: "UPDATE sessions SET harness_state = ? WHERE rowid = ?")
        .execute(arguments: [Data(state.serialized), session])
    }
    if let instructions = commit.instructions {
      try db.cachedStatement(sql: "UPDATE sessions SET instructions = ? WHERE rowid = ?")
        .execute(arguments: [instructions, session])
    }
    if let status = commit.events.lazy.compactMap(\.payload.sessionStatus).last {
      try db.cachedStatement(sql: "UPDATE sessions SET status = ? WHERE rowid = ? AND status <> ?")
        .execute(arguments: [status.rawValue, session, status.rawValue])
    }
    try keepDigest(session)
    try journal(session)
    let isNewSandbox = commit.events.contains { if case .sandboxReady = $0.payload { true } else { false } }
    let newest = commit.events.lazy.compactMap(\.source).max()
    guard isNewSandbox || newest != nil else { return }
    try db.cachedStatement(sql: "UPDATE sessions SET source_offset = ?, source_index = ? WHERE rowid = ?")
      .execute(arguments: [newest?.offset, newest?.index, session])
  }
}
