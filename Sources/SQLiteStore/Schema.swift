import GRDB
import SessionModel

/// The tables. Sessions and executions have small integer row ids inside, so that the events table stays compact.
enum Schema {
  /// Known to this version; a database that has more was written by a newer one.
  static let versions = ["v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10"]

  static var migrator: DatabaseMigrator {
    var migrator = DatabaseMigrator()
    migrator.registerMigration("v1") { db in
      try db.execute(
        sql: """
          CREATE TABLE sessions (
            rowid INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            owner TEXT NOT NULL,
            thread_key TEXT NOT NULL,
            harness TEXT NOT NULL,
            persona TEXT,
            instructions TEXT,
            status TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            next_seq INTEGER NOT NULL,
            next_ordinal INTEGER NOT NULL,
            harness_state BLOB,
            source_offset INTEGER,
            source_index INTEGER,
            lease_holder TEXT,
            lease_epoch INTEGER NOT NULL,
            lease_until INTEGER NOT NULL,
            UNIQUE (owner, thread_key)
          );
          CREATE INDEX sessions_by_owner ON sessions (owner, rowid);

          CREATE TABLE executions (
            rowid INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            session INTEGER NOT NULL REFERENCES sessions (rowid),
            ordinal INTEGER NOT NULL,
            turn_key TEXT,
            status TEXT NOT NULL,
            options BLOB NOT NULL,
            first_seq INTEGER NOT NULL,
            terminal_seq INTEGER,
            created_at INTEGER NOT NULL,
            UNIQUE (session, ordinal)
          );
          CREATE UNIQUE INDEX executions_by_turn_key ON executions (session, turn_key) WHERE turn_key IS NOT NULL;
          CREATE UNIQUE INDEX one_active_execution ON executions (session) WHERE status IN ('running', 'waiting');
          CREATE INDEX open_executions ON executions (session, ordinal) WHERE terminal_seq IS NULL;

          CREATE TABLE events (
            session INTEGER NOT NULL,
            seq INTEGER NOT NULL,
            execution TEXT,
            kind TEXT NOT NULL,
            payload BLOB NOT NULL,
            created_at INTEGER NOT NULL,
            source_offset INTEGER,
            source_index INTEGER,
            PRIMARY KEY (session, seq)
          ) WITHOUT ROWID;

          CREATE TABLE inputs (
            session INTEGER NOT NULL,
            client_id TEXT NOT NULL,
            execution TEXT,
            seq INTEGER NOT NULL,
            PRIMARY KEY (session, client_id)
          ) WITHOUT ROWID;

          CREATE TABLE replies (
            rowid INTEGER PRIMARY KEY,
            wire_id TEXT NOT NULL UNIQUE,
            owner TEXT NOT NULL,
            session TEXT NOT NULL,
            execution TEXT NOT NULL,
            echo BLOB NOT NULL,
            created_at INTEGER NOT NULL
          );
          CREATE INDEX replies_by_execution ON replies (execution, rowid);
          """)
    }
    migrator.registerMigration("v2") { db in
      try db.execute(
        sql: """
          CREATE TABLE harness_journal (
            rowid INTEGER PRIMARY KEY,
            session INTEGER NOT NULL,
            entry BLOB NOT NULL
          );
          CREATE INDEX harness_journal_by_session ON harness_journal (session, rowid);
          CREATE INDEX sessions_by_lease ON sessions (lease_holder) WHERE lease_holder IS NOT NULL;
          """)
    }
    migrator.registerMigration("v3") { db in
      try db.execute(
        sql: """
          CREATE TABLE keys (
            rowid INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            digest BLOB NOT NULL UNIQUE,
            owner TEXT NOT NULL,
            name TEXT,
            requests INTEGER,
            turns INTEGER,
            created_at INTEGER NOT NULL,
            revoked_at INTEGER,
            used_at INTEGER
          );
          """)
    }
    migrator.registerMigration("v4") { db in
      try db.execute(
        sql: """
          ALTER TABLE replies ADD COLUMN is_kept INTEGER NOT NULL DEFAULT 1;
          ALTER TABLE replies ADD COLUMN is_forgotten INTEGER NOT NULL DEFAULT 0;
          ALTER TABLE sessions ADD COLUMN history_digest TEXT;
          ALTER TABLE executions ADD COLUMN history_digest TEXT;
          CREATE INDEX executions_by_digest ON executions (history_digest) WHERE history_digest IS NOT NULL;
          CREATE INDEX conversation_events ON events (session, seq) WHERE
            kind IN ('session.created', 'message.appended', 'item.completed');

          CREATE TABLE conversations (
            id TEXT PRIMARY KEY,
            owner TEXT NOT NULL,
            metadata BLOB NOT NULL,
            created_at INTEGER NOT NULL
          ) WITHOUT ROWID;
          CREATE TABLE conversation_items (
            rowid INTEGER PRIMARY KEY,
            conversation TEXT NOT NULL,
            id TEXT NOT NULL,
            shown BLOB NOT NULL,
            message BLOB NOT NULL,
            is_taken INTEGER NOT NULL DEFAULT 0,
            UNIQUE (conversation, id)
          );
          CREATE INDEX waiting_items ON conversation_items (conversation, rowid) WHERE is_taken = 0;
          CREATE TABLE hidden_items (
            conversation TEXT NOT NULL,
            id TEXT NOT NULL,
            PRIMARY KEY (conversation, id)
          ) WITHOUT ROWID;
          CREATE TABLE compacted_conversations (
            id TEXT PRIMARY KEY,
            owner TEXT NOT NULL,
            execution TEXT,
            messages BLOB NOT NULL
          ) WITHOUT ROWID;
          """)
    }
    migrator.registerMigration("v5") { db in
      // A turn that waits for its client's tools has a reply for each stretch between two waits.
      try db.execute(sql: "ALTER TABLE replies ADD COLUMN after_seq INTEGER NOT NULL DEFAULT 0")
    }
    migrator.registerMigration("v6") { db in
      // What clients keep here beside sessions is counted by owner, as it comes and goes.
      try db.execute(
        sql: """
          ALTER TABLE compacted_conversations ADD COLUMN created_at INTEGER NOT NULL DEFAULT 0;
          UPDATE compacted_conversations SET created_at = unixepoch() * 1000;
          CREATE INDEX compacted_by_age ON compacted_conversations (created_at);
          CREATE INDEX compacted_by_execution ON compacted_conversations (execution) WHERE execution IS NOT NULL;
          ALTER TABLE conversation_items ADD COLUMN created_at INTEGER NOT NULL DEFAULT 0;
          UPDATE conversation_items SET created_at = unixepoch() * 1000;
          CREATE INDEX waiting_items_by_age ON conversation_items (created_at) WHERE is_taken = 0;
          CREATE INDEX conversations_by_owner ON conversations (owner);

          CREATE TABLE kept (owner TEXT PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID;
          INSERT INTO kept (owner, bytes) SELECT owner, sum(bytes) FROM (
            SELECT owner, \(compactedSize("compacted_conversations")) AS bytes FROM compacted_conversations
            UNION ALL
            SELECT c.owner, \(itemSize("i")) FROM conversation_items i JOIN conversations c ON c.id = i.conversation
              WHERE i.is_taken = 0
          ) GROUP BY owner;
          \(keptTriggers)
          """)
    }
    migrator.registerMigration("v7") { db in
      // Before `is_kept` only the echo knew that a client did not want its response kept (`store: false`).
      try db.execute(
        sql: """
          UPDATE replies SET is_kept = 0
          WHERE is_kept AND CASE WHEN json_valid(CAST(echo AS TEXT))
            THEN json_type(CAST(echo AS TEXT), '$.fields.store') = 'false' END
          """)
    }
    migrator.registerMigration("v8") { db in
      // What a client's tools were asked and what they said is part of what was said.
      try db.execute(
        sql: """
          DROP INDEX conversation_events;
          CREATE INDEX conversation_events ON events (session, seq) WHERE \(conversationEvents);
          """)
    }
    migrator.registerMigration("v9") { db in
      // An answer is found by its request, where that may be sent again.
      try db.execute(
        sql: """
          ALTER TABLE replies ADD COLUMN request_name TEXT;
          ALTER TABLE replies ADD COLUMN request_digest TEXT;
          CREATE INDEX replies_by_request ON replies (request_name) WHERE request_name IS NOT NULL;
          """)
    }
    migrator.registerMigration("v10") { db in
      // Which instructions held at a point of a session is one look.
      try db.execute(
        sql: "CREATE INDEX events_with_instructions ON events (session, seq) WHERE \(eventsWithInstructions)")
    }
    return migrator
  }

  /// What a row is counted for, in bytes: what it holds, and what every row takes.
  private static func compactedSize(_ row: String) -> String { "(length(\(row).messages) + 512)" }
  private static func itemSize(_ row: String) -> String { "(length(\(row).shown) + length(\(row).message) + 512)" }

  private static var keptTriggers: String {
    func count(_ change: String, _ size: String, of owner: String) -> String {
      """
      INSERT INTO kept (owner, bytes) SELECT owner, \(change)\(size) FROM (\(owner)) WHERE true
        ON CONFLICT (owner) DO UPDATE SET bytes = bytes + excluded.bytes;
      """
    }
    func ofItem(_ row: String) -> String { "SELECT owner FROM conversations WHERE id = \(row).conversation" }
    return """
      CREATE TRIGGER compacted_came AFTER INSERT ON compacted_conversations
        BEGIN \(count("", compactedSize("NEW"), of: "SELECT NEW.owner AS owner")) END;
      CREATE TRIGGER compacted_went AFTER DELETE ON compacted_conversations
        BEGIN \(count("-", compactedSize("OLD"), of: "SELECT OLD.owner AS owner")) END;
      CREATE TRIGGER item_came AFTER INSERT ON conversation_items WHEN NEW.is_taken = 0
        BEGIN \(count("", itemSize("NEW"), of: ofItem("NEW"))) END;
      CREATE TRIGGER item_went AFTER DELETE ON conversation_items WHEN OLD.is_taken = 0
        BEGIN \(count("-", itemSize("OLD"), of: ofItem("OLD"))) END;
      CREATE TRIGGER item_taken AFTER UPDATE OF is_taken ON conversation_items
        WHEN OLD.is_taken = 0 AND NEW.is_taken <> 0
        BEGIN \(count("-", itemSize("OLD"), of: ofItem("OLD"))) END;
      """
  }

  /// Which events may hold instructions, as the index says it. An output's stand deeper; a function's parameter of the name
  /// does not count.
  static let eventsWithInstructions =
    "(kind IN ('session.created', 'execution.queued', 'execution.started') "
    + "AND json_extract(CAST(payload AS TEXT), '$.instructions') IS NOT NULL "
    + "OR kind = 'execution.resumed' AND instr(CAST(payload AS TEXT), '\"instructions\":') > 0)"

  /// Which events hold what was said, as the index says it: a query finds the index only by the same words.
  static let conversationEvents =
    "kind IN ('session.created', 'message.appended', 'item.completed', 'execution.waiting', 'execution.resumed')"
}
