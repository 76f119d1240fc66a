import Foundation
import GRDB
import SessionModel
import Testing

@testable import SQLiteStore

/// The file holds everybody's conversations: it is private, and it is not touched by a server that cannot read it.
struct StoreFileTests {
  private let file: StoreFile

  init() throws { file = try StoreFile() }

  private func refusal() -> CentaurError? {
    do {
      _ = try file.open()
      return nil
    } catch {
      return error as? CentaurError
    }
  }

  @Test("nobody else on the machine can read the store, nor the files that SQLite puts beside it")
  func mode() async throws {
    let store = try file.open()
    _ = try await store.commit(.create("s"))
    for path in [file.path, file.path + "-wal", file.path + "-shm"] {
      let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
      #expect(mode == 0o600, "\(path)")
    }
  }

  @Test("a store of the version before is migrated at its opening, and sessions go on where they were")
  func earlierVersion() async throws {
    let queue = try DatabaseQueue(path: file.path)
    try Schema.migrator.migrate(queue, upTo: "v1")
    try await queue.write { db in
      try db.execute(
        sql: """
          INSERT INTO sessions (id, owner, thread_key, harness, status, created_at, next_seq, next_ordinal, lease_epoch,
            lease_until) VALUES ('s', 'local', 'api:s', 'codex', 'active', 1, 2, 1, 7, 0);
          INSERT INTO events (session, seq, kind, payload, created_at)
            VALUES (1, 1, 'session.created', CAST('{"harness":"codex","origin":"session_api"}' AS BLOB), 1);
          """)
    }
    try queue.close()
    let store = try file.open()
    let session = SessionID(rawValue: "s")
    #expect(try await store.events(session, after: 0, limit: 10).map(\.payload.kind) == ["session.created"])
    #expect(try await store.harnessJournal(session) == HarnessJournal())
    let token = try await store.acquireLease(session, holder: "two", now: .noon, until: .far) { _ in false }
    #expect(token.epoch == 8)
    _ = try await store.commit(.step("s", token, .note("x")))
    #expect(try await store.session(session)?.lastSeq == 2)
  }

  @Test("what the tools of a client said before they counted as said is found by lists in a migrated store")
  func earlierOutputs() async throws {
    let queue = try DatabaseQueue(path: file.path)
    try Schema.migrator.migrate(queue, upTo: "v5")
    try await queue.write { db in
      try db.execute(
        sql: """
          INSERT INTO sessions (id, owner, thread_key, harness, status, created_at, next_seq, next_ordinal, lease_epoch,
            lease_until) VALUES ('s', 'local', 'api:s', 'codex', 'active', 1, 4, 1, 7, 0);
          INSERT INTO events (session, seq, execution, kind, payload, created_at) VALUES
            (1, 1, NULL, 'session.created', CAST('{"harness":"codex","origin":"session_api"}' AS BLOB), 1),
            (1, 2, 'e', 'execution.waiting', CAST('{"calls":[]}' AS BLOB), 1),
            (1, 3, 'e', 'execution.resumed', CAST('{"outputs":[{"call_id":"call_e_1","parts":[]}]}' AS BLOB), 1);
          """)
    }
    try queue.close()
    let session = SessionID(rawValue: "s")
    let said = try await file.open().conversation(session, after: 0, before: .max, newestFirst: false, limit: 10)
    #expect(said.map(\.payload.kind) == ["session.created", "execution.waiting", "execution.resumed"])
    let output = ToolOutput(call: ClientCallID(ExecutionID(rawValue: "e"), 1), parts: [])
    #expect(said.last?.payload == .executionResumed([output], messages: 0))
  }

  @Test("a response that its client did not want kept, by an earlier version, is unknown here too")
  func unkeptOfEarlierVersions() async throws {
    let queue = try DatabaseQueue(path: file.path)
    try Schema.migrator.migrate(queue, upTo: "v3")
    let echoes = [
      "codex": #"{"codex":true,"fields":{"model":"m","store":false}}"#, "sdk": #"{"fields":{"store":false}}"#,
      "kept": #"{"fields":{"store":true}}"#, "usual": #"{"fields":{}}"#, "messages": #"{"model":"store"}"#,
      "garbled": "{",
    ]
    try await queue.write { db in
      for (id, echo) in echoes {
        try db.execute(
          sql: """
            INSERT INTO replies (wire_id, owner, session, execution, echo, created_at)
            VALUES (?, 'local', 's', 'e', CAST(? AS BLOB), 1)
            """, arguments: [id, echo])
      }
    }
    try queue.close()
    _ = try file.open()
    let kept = try file.withDatabase { db in
      try String.fetchAll(db, sql: "SELECT wire_id FROM replies WHERE is_kept ORDER BY wire_id")
    }
    #expect(kept == ["garbled", "kept", "messages", "usual"])
  }

  @Test("a store of a newer version is refused and left as it is")
  func newer() async throws {
    let database = try DatabaseQueue(path: file.path)
    try Schema.migrator.migrate(database)
    try await database.writeWithoutTransaction { db in
      try db.execute(
        sql: """
          PRAGMA journal_mode = WAL;
          CREATE TABLE tomorrow (x);
          INSERT INTO grdb_migrations (identifier) VALUES ('v999');
          """)
    }
    try database.close()
    let rows = try file.contents()
    let bytes = try Data(contentsOf: URL(filePath: file.path))
    let refusal = try #require(self.refusal())
    #expect(refusal.code == .storeUnavailable)
    #expect(refusal.message == "The store was written by a newer version of this server.")
    #expect(try Data(contentsOf: URL(filePath: file.path)) == bytes)
    #expect(try file.contents() == rows)
  }

  @Test("a file that is no store is refused and left as it is")
  func noStore() throws {
    let text = Data(String(repeating: "Dear diary, ", count: 1000).utf8)
    try text.write(to: URL(filePath: file.path))
    #expect(refusal()?.code == .storeUnavailable)
    #expect(try Data(contentsOf: URL(filePath: file.path)) == text)
  }

  @Test("a store that cannot be made says so")
  func noDirectory() {
    #expect(throws: CentaurError.self) { try SQLiteStore(path: "/nonexistent/store.sqlite") }
  }

  @Test("a store that is opened twice, as by a server and a command beside it, shows both the same")
  func twice() async throws {
    let server = try file.open()
    let token = try await server.commit(.create("s")).token
    let command = try file.open()
    _ = try await server.commit(.step("s", token, .note("a")))
    #expect(try await command.events(SessionID(rawValue: "s"), after: 0, limit: 9).map(\.seq) == [1, 2])
    #expect(try await command.commit(.step("s", token, .note("b"))).events.map(\.seq) == [3])
    #expect(try await server.events(SessionID(rawValue: "s"), after: 0, limit: 9).map(\.seq) == [1, 2, 3])
  }
}
