import GRDB
import SessionModel

/// Reads rows into values. Statements are cached by GRDB; columns are read by position.
enum Rows {
  private static let sessionColumns =
    "id, owner, thread_key, harness, persona, instructions, created_at, status, next_seq, harness_state, "
    + "history_digest"

  static func session(_ db: Database, _ condition: String, _ arguments: StatementArguments) throws -> Session? {
    try sessions(db, condition, arguments).first
  }

  static func sessions(_ db: Database, _ condition: String, _ arguments: StatementArguments) throws -> [Session] {
    let statement = try db.cachedStatement(sql: "SELECT \(sessionColumns) FROM sessions \(condition)")
    return try Row.fetchAll(statement, arguments: arguments).map { row in
      let state: [UInt8]? = bytes(row, 9)
      let nextSeq: Int64 = row[8]
      return Session(
        id: SessionID(rawValue: row[0]), owner: Owner(rawValue: row[1]), key: try ThreadKey(row[2]),
        harness: HarnessName(rawValue: row[3]), persona: row[4], instructions: row[5],
        createdAt: Timestamp(milliseconds: row[6]), status: Session.Status(rawValue: row[7]) ?? .active,
        lastSeq: nextSeq - 1,
        harnessState: try state.map { try json($0) }.flatMap { $0 == .null ? JSONValue?.none : $0 },
        historyDigest: row[10])
    }
  }

  static func executions(_ db: Database, _ condition: String, _ arguments: StatementArguments) throws -> [Execution] {
    let statement = try db.cachedStatement(
      sql: """
        SELECT e.id, s.id, e.ordinal, e.turn_key, e.status, e.options, e.first_seq, e.terminal_seq, e.created_at
        FROM executions e JOIN sessions s ON s.rowid = e.session \(condition)
        """)
    return try Row.fetchAll(statement, arguments: arguments).map { row in
      guard let status = Execution.Status(rawValue: row[4]) else { throw corrupt("an execution's status") }
      let payload = try EventPayload(kind: "execution.queued", json: try json(bytes(row, 5) ?? []))
      guard case .executionQueued(let options) = payload else { throw corrupt("an execution's options") }
      return Execution(
        id: ExecutionID(rawValue: row[0]), sessionID: SessionID(rawValue: row[1]), ordinal: row[2], turnKey: row[3],
        status: status, options: options, firstSeq: row[6], terminalSeq: row[7],
        createdAt: Timestamp(milliseconds: row[8]))
    }
  }

  static let eventsQuery = """
    SELECT seq, execution, kind, payload, created_at, source_offset, source_index FROM events
    WHERE session = ? AND seq > ? ORDER BY seq LIMIT ?
    """

  static let eventsWithoutPiecesQuery = eventsQuery.replacing(
    "ORDER BY",
    with: "AND kind NOT IN (\(SessionEvent.piecesOfTurns.map { "'\($0)'" }.joined(separator: ", "))) ORDER BY")

  /// A page of what was said, between two events. `INDEXED BY`, as the planner takes the primary key for as good.
  static func conversationQuery(newestFirst: Bool) -> String {
    """
    SELECT seq, execution, kind, payload, created_at, source_offset, source_index
    FROM events INDEXED BY conversation_events
    WHERE session = ? AND seq > ? AND seq < ? AND \(Schema.conversationEvents)
    ORDER BY seq \(newestFirst ? "DESC" : "ASC") LIMIT ?
    """
  }

  static let instructionsQuery = """
    SELECT seq, execution, kind, payload, created_at, source_offset, source_index
    FROM events INDEXED BY events_with_instructions
    WHERE session = ? AND seq < ? AND \(Schema.eventsWithInstructions) ORDER BY seq DESC LIMIT 1
    """

  /// No event is added to a page that holds so many bytes of payloads.
  static let pageSize = 4 << 20

  static func events(
    _ db: Database, _ session: SessionID, after: Int64, limit: Int, _ query: String = eventsQuery
  ) throws -> [SessionEvent] {
    try events(db, session, query) { [$0, after, limit] }
  }

  static func events(
    _ db: Database, _ session: SessionID, _ query: String, _ arguments: (_ rowid: Int64) -> StatementArguments
  ) throws -> [SessionEvent] {
    let id = try Int64.fetchOne(
      db.cachedStatement(sql: "SELECT rowid FROM sessions WHERE id = ?"), arguments: [session.rawValue])
    guard let id else { return [] }
    let statement = try db.cachedStatement(sql: query)
    let rows = try Row.fetchCursor(statement, arguments: arguments(id))
    var events: [SessionEvent] = []
    var size = 0
    // A reader holds one page: a few large events are one, too.
    while size < pageSize, let row = try rows.next() {
      let execution: String? = row[1]
      let payload = try row.withUnsafeData(atIndex: 3) { data in
        size += data?.count ?? 0
        return try EventPayload(kind: row[2], json: try json(data.map(Array.init) ?? []))
      }
      let offset: Int64? = row[5]
      events.append(
        SessionEvent(
          seq: row[0], sessionID: session, executionID: execution.map(ExecutionID.init(rawValue:)), payload: payload,
          createdAt: Timestamp(milliseconds: row[4]),
          source: offset.map { EventSource(offset: $0, index: row[6]) }))
    }
    return events
  }

  static func replies(_ db: Database, _ condition: String, _ arguments: StatementArguments) throws -> [Reply] {
    let statement = try db.cachedStatement(
      sql: """
        SELECT wire_id, owner, session, execution, echo, created_at, is_kept, after_seq, request_name, request_digest
        FROM replies \(condition)
        """)
    return try Row.fetchAll(statement, arguments: arguments).map { row in
      let name: String? = row[8]
      let digest: String? = row[9]
      return Reply(
        wireID: row[0], owner: Owner(rawValue: row[1]), sessionID: SessionID(rawValue: row[2]),
        executionID: ExecutionID(rawValue: row[3]), echo: try json(bytes(row, 4) ?? []),
        createdAt: Timestamp(milliseconds: row[5]), isKept: row[6], afterSeq: row[7],
        request: name.map { RequestName(value: $0, digest: digest ?? "") })
    }
  }

  static func bytes(_ row: Row, _ index: Int) -> [UInt8]? {
    (try? row.withUnsafeData(atIndex: index) { $0.map(Array.init) }) ?? nil
  }

  static func json(_ bytes: [UInt8]) throws -> JSONValue {
    do {
      return try JSONValue(parsing: bytes)
    } catch {
      throw corrupt("a JSON value")
    }
  }

  private static func corrupt(_ what: String) -> CentaurError {
    CentaurError(.storeCorrupt, "The store holds \(what) that cannot be read.")
  }
}
