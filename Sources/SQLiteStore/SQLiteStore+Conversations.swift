import FoundationEssentials
import GRDB
public import SessionModel

/// What clients call by names of its own: rows beside the log, each durable when it is
/// acknowledged: a client throws away what it was given a name for.
extension SQLiteStore {
  public func add(_ conversation: ConversationRecord, _ items: [AddedItem], limit: Int) async throws {
    try await writeDurably { db in
      try db.execute(
        sql: "INSERT INTO conversations (id, owner, metadata, created_at) VALUES (?, ?, ?, ?)",
        arguments: [
          conversation.id, conversation.owner.rawValue, Data(conversation.metadata.serialized),
          conversation.createdAt.milliseconds,
        ])
      try Self.insert(items, conversation.id, at: conversation.createdAt, db)
      try Self.checkKept(conversation.owner.rawValue, limit, db)
    }
  }

  public func conversation(owner: Owner, id: String) async throws -> ConversationRecord? {
    try await read { db in
      let row = try Row.fetchOne(
        db, sql: "SELECT metadata, created_at FROM conversations WHERE id = ? AND owner = ?",
        arguments: [id, owner.rawValue])
      return try row.map { row in
        ConversationRecord(
          id: id, owner: owner, metadata: try Rows.json(Rows.bytes(row, 0) ?? []),
          createdAt: Timestamp(milliseconds: row[1]))
      }
    }
  }

  public func setMetadata(_ metadata: JSONValue, of conversation: String, owner: Owner) async throws -> Bool {
    try await writeDurably { db in
      try db.execute(
        sql: "UPDATE conversations SET metadata = ? WHERE id = ? AND owner = ?",
        arguments: [Data(metadata.serialized), conversation, owner.rawValue])
      return db.changesCount > 0
    }
  }

  public func removeConversation(_ id: String, owner: Owner) async throws -> Bool {
    try await writeDurably { db in
      let isKnown = try Bool.fetchOne(
        db, sql: "SELECT 1 FROM conversations WHERE id = ? AND owner = ?", arguments: [id, owner.rawValue])
      guard isKnown == true else { return false }
      // The items first: whose they are counted for is in the conversation.
      for (table, column) in [
        ("conversation_items", "conversation"), ("hidden_items", "conversation"), ("conversations", "id"),
      ] {
        try db.execute(sql: "DELETE FROM \(table) WHERE \(column) = ?", arguments: [id])
      }
      return true
    }
  }

  // MARK: Items

  public func add(
    _ items: [AddedItem], to conversation: String, of session: SessionID?, at time: Timestamp, limit: Int
  ) async throws {
    try await writeDurably { db in
      // What turns that are over have taken is never asked for again as something that waits.
      try db.execute(
        sql: """
          UPDATE conversation_items SET is_taken = 1 WHERE conversation = ? AND is_taken = 0 AND EXISTS (
            SELECT 1 FROM inputs i LEFT JOIN executions e ON e.id = i.execution
            WHERE i.session = (SELECT rowid FROM sessions WHERE id = ?) AND i.client_id = conversation_items.id
              AND (i.execution IS NULL OR e.terminal_seq IS NOT NULL))
          """, arguments: [conversation, session?.rawValue])
      try Self.insert(items, conversation, at: time, db)
      let owner = try String.fetchOne(
        db, sql: "SELECT owner FROM conversations WHERE id = ?", arguments: [conversation])
      if let owner { try Self.checkKept(owner, limit, db) }
    }
  }

  private static func insert(
    _ items: [AddedItem], _ conversation: String, at time: Timestamp, _ db: Database
  ) throws {
    for item in items {
      try db.execute(
        sql: "INSERT INTO conversation_items (conversation, id, shown, message, created_at) VALUES (?, ?, ?, ?, ?)",
        arguments: [
          conversation, item.id, Data(item.shown.serialized), Data(item.message.json.serialized), time.milliseconds,
        ])
    }
  }

  public func waitingItems(_ conversation: String, takenBy session: SessionID?) async throws -> [AddedItem] {
    try await read { db in
      let rows = try Row.fetchAll(
        db,
        sql: """
          SELECT id, shown, message FROM conversation_items INDEXED BY waiting_items
          WHERE conversation = ? AND is_taken = 0 AND NOT EXISTS (
            SELECT 1 FROM inputs WHERE session = (SELECT rowid FROM sessions WHERE id = ?)
              AND client_id = conversation_items.id)
          ORDER BY rowid
          """, arguments: [conversation, session?.rawValue])
      return try rows.map(Self.item)
    }
  }

  public func addedItems(_ conversation: String, ids: [String]) async throws -> [AddedItem] {
    try await read { db in
      try ids.compactMap { id in
        try Row.fetchOne(
          db.cachedStatement(
            sql: "SELECT id, shown, message FROM conversation_items WHERE conversation = ? AND id = ?"),
          arguments: [conversation, id]
        ).map(Self.item)
      }
    }
  }

  private static func item(_ row: Row) throws -> AddedItem {
    AddedItem(
      id: row[0], shown: try Rows.json(Rows.bytes(row, 1) ?? []),
      message: try Message(saved: Rows.json(Rows.bytes(row, 2) ?? [])))
  }

  public func hideItem(_ id: String, of conversation: String) async throws {
    try await writeDurably { db in
      try db.execute(
        sql: "INSERT OR IGNORE INTO hidden_items (conversation, id) VALUES (?, ?)", arguments: [conversation, id])
      try db.execute(
        sql: "DELETE FROM conversation_items WHERE conversation = ? AND id = ?", arguments: [conversation, id])
    }
  }

  public func hiddenItems(_ conversation: String, among ids: [String]) async throws -> Set<String> {
    try await read { db in
      let statement = try db.cachedStatement(sql: "SELECT 1 FROM hidden_items WHERE conversation = ? AND id = ?")
      return Set(try ids.filter { try Bool.fetchOne(statement, arguments: [conversation, $0]) ?? false })
    }
  }

  // MARK: Compaction

  public func add(_ compacted: CompactedConversation, limit: Int) async throws {
    try await writeDurably { db in
      try db.execute(
        sql: """
          INSERT INTO compacted_conversations (id, owner, execution, messages, created_at) VALUES (?, ?, ?, ?, ?)
          """,
        arguments: [
          compacted.id, compacted.owner.rawValue, compacted.execution?.rawValue,
          Data(JSONValue.array(compacted.messages.map(\.json)).serialized), compacted.createdAt.milliseconds,
        ])
      try Self.checkKept(compacted.owner.rawValue, limit, db)
    }
  }

  public func compacted(owner: Owner, id: String) async throws -> CompactedConversation? {
    try await read { db in
      let row = try Row.fetchOne(
        db, sql: "SELECT execution, messages, created_at FROM compacted_conversations WHERE id = ? AND owner = ?",
        arguments: [id, owner.rawValue])
      return try row.map { row in
        let execution: String? = row[0]
        return CompactedConversation(
          id: id, owner: owner, execution: execution.map(ExecutionID.init(rawValue:)),
          messages: try (Rows.json(Rows.bytes(row, 1) ?? []).array ?? []).map { try Message(saved: $0) },
          createdAt: Timestamp(milliseconds: row[2]))
      }
    }
  }

  // MARK: How much is kept

  /// What turns have taken and is not marked so yet is looked for only where the limit is reached.
  private static func checkKept(_ owner: String, _ limit: Int, _ db: Database) throws {
    func isOver() throws -> Bool {
      try Int.fetchOne(db, sql: "SELECT bytes FROM kept WHERE owner = ?", arguments: [owner]) ?? 0 > limit
    }
    guard try isOver() else { return }
    try db.execute(
      sql: """
        UPDATE conversation_items SET is_taken = 1
        WHERE is_taken = 0 AND conversation IN (SELECT id FROM conversations WHERE owner = ?)
          AND \(isInSession("AND (i.execution IS NULL OR e.terminal_seq IS NOT NULL)"))
        """, arguments: [owner])
    guard try isOver() else { return }
    throw CentaurError(
      .keptLimit,
      "Compacted conversations and items that wait for a conversation's next response may take \(limit) bytes together. "
        + "Conversations that are deleted, and responses that take what waits, make room.")
  }

  /// Of an item: the conversation's session (`ControlPlane.key(ofConversation:)`) has taken it.
  private static func isInSession(_ more: String = "") -> String {
    """
    EXISTS (
      SELECT 1 FROM conversations c
        JOIN sessions s ON s.owner = c.owner AND s.thread_key = 'api:conv:' || substr(c.id, 6)
        JOIN inputs i ON i.session = s.rowid AND i.client_id = conversation_items.id
        LEFT JOIN executions e ON e.id = i.execution
      WHERE c.id = conversation_items.conversation \(more))
    """
  }

  public func removeKept(before moment: Timestamp) async throws {
    try await write { db in
      for sql in [
        "DELETE FROM compacted_conversations WHERE created_at < ?",
        "DELETE FROM conversation_items WHERE is_taken = 0 AND created_at < ? AND NOT \(Self.isInSession())",
      ] { try db.execute(sql: sql, arguments: [moment.milliseconds]) }
    }
  }

  public func removeKept(of session: SessionID) async throws {
    try await writeDurably { db in
      try db.execute(
        sql: """
          DELETE FROM compacted_conversations WHERE execution IN (
            SELECT id FROM executions WHERE session = (SELECT rowid FROM sessions WHERE id = ?))
          """, arguments: [session.rawValue])
      try db.execute(
        sql: """
          DELETE FROM conversation_items WHERE is_taken = 0 AND conversation = (
            SELECT c.id FROM sessions s JOIN conversations c ON c.id = 'conv_' || substr(s.thread_key, 10)
            WHERE s.id = ? AND s.thread_key LIKE 'api:conv:%' AND c.owner = s.owner)
            AND NOT \(Self.isInSession())
          """, arguments: [session.rawValue])
    }
  }
}
