import GRDB
import SessionModel

/// The tables. Sessions and executions have small integer row ids inside, so that the events table stays compact.
enum Schema {
  /// Known to this version; a database that has more was written by a newer one.
  static let versions = ["v1", "v2", "v3", "v4", "v5", "v7"]

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
          CREATE INDEX conversation_events ON events (session, seq) WHERE \(conversationEvents);

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
    migrator.registerMigration("v7") { db in
      // Before `is_kept` only the echo knew that a client did not want its response kept (`store: false`).
      try db.execute(
        sql: """
          UPDATE replies SET is_kept = 0
          WHERE is_kept AND CASE WHEN json_valid(CAST(echo AS TEXT))
            THEN json_type(CAST(echo AS TEXT), '$.fields.store') = 'false' END
          """)
    }
    return migrator
  }

  /// Which events hold what was said, as the index says it: a query finds the index only by the same words.
  static let conversationEvents =
    "kind IN ('session.created', 'message.appended', 'item.completed')"
}
