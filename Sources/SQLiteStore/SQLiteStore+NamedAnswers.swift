import GRDB
public import SessionModel

/// Answers by what was asked.
extension SQLiteStore {
  public func reply(owner: Owner, requestName: String) async throws -> Reply? {
    try await read { db in
      try Rows.replies(
        db, "WHERE request_name = ? AND owner = ? ORDER BY rowid DESC LIMIT 1", [requestName, owner.rawValue]
      ).first
    }
  }

  public func answers(owner: Owner, requestName: String, endedSince: Timestamp) async throws -> [NamedAnswer] {
    try await read { db in
      let statement = try db.cachedStatement(
        sql: """
          SELECT r.wire_id, r.session, r.execution, r.created_at, e.terminal_seq IS NOT NULL
          FROM replies r JOIN executions e ON e.id = r.execution
          WHERE r.rowid IN (
              SELECT rowid FROM replies WHERE request_name = ? AND owner = ? ORDER BY rowid DESC LIMIT 256)
            AND e.status NOT IN ('failed', 'cancelled')
            AND (e.terminal_seq IS NULL OR
              (SELECT created_at FROM events WHERE session = e.session AND seq = e.terminal_seq) >= ?)
          ORDER BY r.rowid DESC
          """)
      let arguments: StatementArguments = [requestName, owner.rawValue, endedSince.milliseconds]
      return try Row.fetchAll(statement, arguments: arguments).map { row in
        NamedAnswer(
          wireID: row[0], sessionID: SessionID(rawValue: row[1]), executionID: ExecutionID(rawValue: row[2]),
          createdAt: Timestamp(milliseconds: row[3]), isOver: row[4])
      }
    }
  }
}
