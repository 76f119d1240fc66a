import FoundationEssentials
import GRDB
public import SessionModel

/// Sessions in one SQLite file (WAL mode) through GRDB.
///
/// Concurrency: reads run on the pool's readers, each in a snapshot, beside one writer. Commits of all sessions go
/// through `CommitQueue`, which puts those that wait into one transaction, each in a savepoint of its own: one `fsync`
/// serves them all, and each still succeeds or fails alone.
///
/// What holds at power loss: with `.full`, every commit that has returned is on the disk, but for the newest pieces of
/// turns that still run (items, deltas, usage): those are, with the next step of another kind of any session, such as the
/// turn's end. With `.normal`, the newest transactions may be missing. In both, what is there is a prefix of the log, and
/// nothing is missing after the death of a process.
public final class SQLiteStore: SessionStore {
  public enum Durability: Sendable, Hashable {
    case full
    case normal

    var pragma: String { self == .full ? "FULL" : "NORMAL" }
  }

  private let pool: DatabasePool
  /// For the look at a request's key alone.
  let keyReader: DatabaseQueue
  private let commits: CommitQueue

  /// Opens the file, or makes it (mode 0600).
  /// - Throws: `CentaurError` with `storeUnavailable`; nothing is changed then
  public convenience init(path: String, durability: Durability = .full) throws {
    try self.init(path: path, durability: durability, faults: StoreFaults())
  }

  init(path: String, durability: Durability, faults: StoreFaults) throws {
    do {
      if !FileManager.default.fileExists(atPath: path) {
        _ = FileManager.default.createFile(atPath: path, contents: nil, attributes: [.posixPermissions: 0o600])
      }
      var configuration = Configuration()
      configuration.busyMode = .timeout(5)
      configuration.maximumReaderCount = 4
      configuration.prepareDatabase { db in
        // What a long read let the WAL grow to is given back by the next checkpoint.
        try db.execute(sql: "PRAGMA journal_size_limit = \(16 << 20)")
        try db.execute(sql: "PRAGMA synchronous = \(durability.pragma)")
        guard let onStatement = faults.onStatement else { return }
        db.trace { event in if case .statement(let statement) = event { onStatement(statement.sql) } }
      }
      guard try !Self.isNewer(path) else {
        throw CentaurError(.storeUnavailable, "The store was written by a newer version of this server.")
      }
      pool = try DatabasePool(path: path, configuration: configuration)
      try Schema.migrator.migrate(pool)
      var readOnly = Configuration()
      readOnly.readonly = true
      readOnly.busyMode = .timeout(1)
      keyReader = try DatabaseQueue(path: path, configuration: readOnly)
    } catch let error as CentaurError {
      throw error
    } catch {
      throw CentaurError(.storeUnavailable, "The store cannot be opened: \(error).")
    }
    commits = CommitQueue(pool: pool, durability: durability, faults: faults)
  }

  /// Whether a newer version has written the file. Asked before the pool is made, which writes to what it opens.
  private static func isNewer(_ path: String) throws -> Bool {
    var configuration = Configuration()
    configuration.readonly = true
    configuration.busyMode = .timeout(5)
    return try DatabaseQueue(path: path, configuration: configuration).read { db in
      try !Schema.migrator.appliedIdentifiers(db).isSubset(of: Schema.versions)
    }
  }

  public func commit(_ commit: SessionCommit) async throws -> CommitResult {
    try await commits.commit(commit)
  }

  // MARK: Reading

  func read<T: Sendable>(_ body: @escaping @Sendable (Database) throws -> T) async throws -> T {
    do {
      return try await pool.read(body)
    } catch let error as CentaurError {
      throw error
    } catch {
      throw CentaurError.storeRefused("The store cannot be read.")
    }
  }

  public func session(_ id: SessionID) async throws -> Session? {
    try await read { db in try Rows.session(db, "WHERE id = ?", [id.rawValue]) }
  }

  public func session(owner: Owner, key: ThreadKey) async throws -> Session? {
    try await read { db in
      try Rows.session(db, "WHERE owner = ? AND thread_key = ?", [owner.rawValue, key.rawValue])
    }
  }

  public func sessions(owner: Owner, before: SessionID?, limit: Int) async throws -> [Session] {
    try await read { db in
      if let before {
        return try Rows.sessions(
          db,
          "WHERE owner = ?1 AND rowid < (SELECT rowid FROM sessions WHERE id = ?2 AND owner = ?1) "
            + "ORDER BY rowid DESC LIMIT ?3",
          [owner.rawValue, before.rawValue, limit])
      }
      return try Rows.sessions(db, "WHERE owner = ? ORDER BY rowid DESC LIMIT ?", [owner.rawValue, limit])
    }
  }

  public func events(_ session: SessionID, after: Int64, limit: Int) async throws -> [SessionEvent] {
    try await read { db in try Rows.events(db, session, after: after, limit: limit) }
  }

  public func eventsWithoutPieces(_ session: SessionID, after: Int64, limit: Int) async throws -> [SessionEvent] {
    try await read { db in try Rows.events(db, session, after: after, limit: limit, Rows.eventsWithoutPiecesQuery) }
  }

  public func conversation(
    _ session: SessionID, after: Int64, before: Int64, newestFirst: Bool, limit: Int
  ) async throws -> [SessionEvent] {
    try await read { db in
      try Rows.events(db, session, Rows.conversationQuery(newestFirst: newestFirst)) { [$0, after, before, limit] }
    }
  }

  public func eventWithInstructions(_ session: SessionID, before: Int64) async throws -> SessionEvent? {
    try await read { db in try Rows.events(db, session, Rows.instructionsQuery) { [$0, before] }.first }
  }

  public func isFollowed(_ execution: Execution) async throws -> Bool {
    try await read { db in
      try Bool.fetchOne(
        db,
        sql: """
          SELECT 1 FROM executions
          WHERE session = (SELECT rowid FROM sessions WHERE id = ?) AND ordinal > ?
            AND status NOT IN ('failed', 'cancelled') LIMIT 1
          """, arguments: [execution.sessionID.rawValue, execution.ordinal]) ?? false
    }
  }

  public func execution(_ id: ExecutionID) async throws -> Execution? {
    try await read { db in try Rows.executions(db, "WHERE e.id = ?", [id.rawValue]).first }
  }

  public func execution(_ session: SessionID, turnKey: String) async throws -> Execution? {
    try await read { db in
      try Rows.executions(db, "WHERE s.id = ? AND e.turn_key = ?", [session.rawValue, turnKey]).first
    }
  }

  public func execution(owner: Owner, historyDigest: String) async throws -> Execution? {
    try await read { db in
      // Of as many as can tell: a loop that is run each day ends each day with the same words.
      let digests = """
        WHERE e.rowid IN (
          SELECT d.rowid FROM executions d JOIN sessions o ON o.rowid = d.session
          WHERE d.history_digest = ? AND o.owner = ? ORDER BY d.rowid DESC LIMIT 64)
        """
      let isHead = """
        AND NOT EXISTS (
          SELECT 1 FROM executions f
          WHERE f.session = e.session AND f.ordinal > e.ordinal AND f.status NOT IN ('failed', 'cancelled'))
        """
      for condition in ["\(digests) \(isHead) LIMIT 2", "\(digests) LIMIT 2"] {
        let found = try Rows.executions(db, condition, [historyDigest, owner.rawValue])
        if !found.isEmpty { return found.count == 1 ? found[0] : nil }
      }
      return nil
    }
  }

  public func openExecutions(_ session: SessionID) async throws -> [Execution] {
    try await read { db in
      try Rows.executions(db, "WHERE s.id = ? AND e.terminal_seq IS NULL ORDER BY e.ordinal", [session.rawValue])
    }
  }

  public func executions(_ session: SessionID, after ordinal: Int, limit: Int) async throws -> [Execution] {
    try await read { db in
      try Rows.executions(
        db, "WHERE s.id = ? AND e.ordinal > ? ORDER BY e.ordinal LIMIT ?", [session.rawValue, ordinal, limit])
    }
  }

  public func newestAnswered(_ session: SessionID, before ordinal: Int) async throws -> Execution? {
    try await read { db in
      try Rows.executions(
        db, "WHERE s.id = ? AND e.ordinal < ? AND e.status = 'completed' ORDER BY e.ordinal DESC LIMIT 1",
        [session.rawValue, ordinal]
      ).first
    }
  }

  public func newestExecution(_ session: SessionID) async throws -> Execution? {
    try await read { db in
      try Rows.executions(db, "WHERE s.id = ? ORDER BY e.ordinal DESC LIMIT 1", [session.rawValue]).first
    }
  }

  public func sessionsWithOpenExecutions() async throws -> [SessionID] {
    try await read { db in
      try String.fetchAll(
        db,
        sql: """
          SELECT DISTINCT s.id FROM executions e JOIN sessions s ON s.rowid = e.session
          WHERE e.terminal_seq IS NULL ORDER BY s.rowid
          """
      ).map(SessionID.init(rawValue:))
    }
  }

  public func takers(_ session: SessionID, clientIDs: [String]) async throws -> [String: TakenInput] {
    try await read { db in
      let statement = try db.cachedStatement(
        sql: """
          SELECT execution, seq FROM inputs
          WHERE session = (SELECT rowid FROM sessions WHERE id = ?) AND client_id = ?
          """)
      var takers: [String: TakenInput] = [:]
      for id in clientIDs {
        guard let row = try Row.fetchOne(statement, arguments: [session.rawValue, id]) else { continue }
        let execution: String? = row[0]
        takers[id] = TakenInput(execution: execution.map(ExecutionID.init(rawValue:)), seq: row[1])
      }
      return takers
    }
  }

  public func reply(owner: Owner, wireID: String) async throws -> Reply? {
    try await read { db in
      try Rows.replies(db, "WHERE wire_id = ? AND owner = ? AND is_kept", [wireID, owner.rawValue]).first
    }
  }

  public func replyOrUnkept(owner: Owner, wireID: String) async throws -> Reply? {
    try await read { db in
      try Rows.replies(db, "WHERE wire_id = ? AND owner = ? AND NOT is_forgotten", [wireID, owner.rawValue]).first
    }
  }

  public func replies(_ execution: ExecutionID) async throws -> [Reply] {
    try await read { db in try Rows.replies(db, "WHERE execution = ? ORDER BY rowid", [execution.rawValue]) }
  }

  public func harnessJournal(_ session: SessionID) async throws -> HarnessJournal {
    try await read { db in
      let row = try Row.fetchOne(
        db, sql: "SELECT rowid, source_offset, source_index FROM sessions WHERE id = ?", arguments: [session.rawValue])
      guard let row else { return HarnessJournal() }
      let number: Int64 = row[0]
      let offset: Int64? = row[1]
      let entries = try Data.fetchAll(
        db, sql: "SELECT entry FROM harness_journal WHERE session = ? ORDER BY rowid", arguments: [number])
      return HarnessJournal(
        entries: entries.map { [UInt8]($0) }, newestSource: offset.map { EventSource(offset: $0, index: row[2]) })
    }
  }

  // MARK: Leases

  func write<T: Sendable>(_ body: @escaping @Sendable (Database) throws -> T) async throws -> T {
    do {
      return try await pool.write(body)
    } catch let error as CentaurError {
      throw error
    } catch {
      throw CentaurError.storeRefused("The store cannot be written.")
    }
  }

  /// For what must not come back after a power loss, whatever sessions' commits have the connection set to.
  func writeDurably<T: Sendable>(_ body: @escaping @Sendable (Database) throws -> T) async throws -> T {
    do {
      return try await pool.writeWithoutTransaction { db in
        let before = try Int.fetchOne(db, sql: "PRAGMA synchronous") ?? 2
        try db.execute(sql: "PRAGMA synchronous = FULL")
        defer { try? db.execute(sql: "PRAGMA synchronous = \(before)") }
        var result: T?
        try db.inTransaction {
          result = try body(db)
          return .commit
        }
        guard let result else { throw CentaurError(.internalFailure, "Nothing was written.") }
        return result
      }
    } catch let error as CentaurError {
      throw error
    } catch {
      throw CentaurError.storeRefused("The store cannot be written.")
    }
  }

  public func acquireLease(
    _ session: SessionID, holder: String, now: Timestamp, until: Timestamp,
    _ isDead: @escaping @Sendable (String) -> Bool
  ) async throws -> FencingToken {
    try await write { db in
      let row = try Row.fetchOne(
        db, sql: "SELECT lease_holder, lease_epoch, lease_until FROM sessions WHERE id = ?",
        arguments: [session.rawValue])
      guard let row else { throw CentaurError(.sessionNotFound, "There is no such session.") }
      let owner: String? = row[0]
      let epoch: Int64 = row[1]
      let ends: Int64 = row[2]
      if let owner, owner != holder, ends >= now.milliseconds, !isDead(owner) {
        throw CentaurError(
          .sessionElsewhere, "Another server drives this session. Try again shortly.", retryAfter: .seconds(2))
      }
      try db.execute(
        sql: "UPDATE sessions SET lease_holder = ?, lease_epoch = ?, lease_until = ? WHERE id = ?",
        arguments: [holder, epoch + 1, until.milliseconds, session.rawValue])
      return FencingToken(epoch: epoch + 1)
    }
  }

  @discardableResult
  public func renewLeases(
    of sessions: [SessionID], holder: String, until: Timestamp
  ) async throws -> [SessionID: FencingToken] {
    guard !sessions.isEmpty else { return [:] }
    return try await write { db in
      let renewal = try db.makeStatement(
        sql: "UPDATE sessions SET lease_until = ? WHERE id = ? AND lease_holder = ? RETURNING lease_epoch")
      var held: [SessionID: FencingToken] = [:]
      for session in sessions {
        let epoch = try Int64.fetchOne(renewal, arguments: [until.milliseconds, session.rawValue, holder])
        if let epoch { held[session] = FencingToken(epoch: epoch) }
      }
      return held
    }
  }

  public func releaseLease(_ session: SessionID, token: FencingToken) async throws {
    try await write { db in
      try db.execute(
        sql: "UPDATE sessions SET lease_holder = NULL, lease_until = 0 WHERE id = ? AND lease_epoch = ?",
        arguments: [session.rawValue, token.epoch])
    }
  }
}
