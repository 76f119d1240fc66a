import Foundation
import GRDB
import SessionModel

@testable import SQLiteStore

/// A store's file in a directory of its own, which goes when the test ends.
final class StoreFile: Sendable {
  private let directory: URL

  init() throws {
    directory = FileManager.default.temporaryDirectory.appending(path: "centaur-store-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: directory) }

  var path: String { directory.appending(path: "store.sqlite").path }

  /// The store of the file, as a server opens it.
  func open(faults: StoreFaults = StoreFaults()) throws -> SQLiteStore {
    try SQLiteStore(path: path, durability: .full, faults: faults)
  }

  /// What somebody else does with the file.
  func withDatabase<T>(_ body: (Database) throws -> T) throws -> T {
    let queue = try DatabaseQueue(path: path)
    defer { try? queue.close() }
    return try queue.write(body)
  }

  /// All rows of all tables: equal before and after where nothing was written.
  func contents() throws -> [String] {
    try withDatabase { db in
      let tables = try String.fetchAll(db, sql: "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
      return try tables.flatMap { table in
        try Row.fetchAll(db, sql: "SELECT * FROM \(table)").map { "\(table) \($0.description)" }
      }
    }
  }
}

/// Moments as the tests need them.
extension Timestamp {
  static let noon = Timestamp(milliseconds: 1_800_000_000_000)
  /// A lease until then runs while the test does.
  static let far = Timestamp(milliseconds: 4_000_000_000_000)
  /// A lease until then is over.
  static let past = Timestamp(milliseconds: 1_000_000_000_000)
}

extension SessionCommit {
  /// The first step of a session of this name, by the server `holder`.
  static func create(
    _ name: String, key: String? = nil, owner: Owner = .local, holder: String = "server-1", until: Timestamp = .far
  ) throws -> SessionCommit {
    let session = Session(
      id: SessionID(rawValue: name), owner: owner, key: try ThreadKey(key ?? "api:\(name)"), harness: .codex,
      persona: nil, instructions: nil, createdAt: .noon)
    let created = SessionCreated(harness: .codex, origin: "session_api")
    return SessionCommit(
      session: session.id, creation: Creation(session: session, holder: holder, leaseUntil: until), token: nil,
      time: .noon, events: [EventDraft(.sessionCreated(created))])
  }

  /// A later step.
  static func step(_ name: String, _ token: FencingToken?, _ events: EventDraft...) -> SessionCommit {
    SessionCommit(session: SessionID(rawValue: name), token: token, time: .noon + .seconds(1), events: events)
  }
}

extension EventDraft {
  /// An event that changes nothing but the log.
  static func note(_ text: String) -> EventDraft { EventDraft(.warning(code: "note", message: text)) }

  static func queued(_ execution: String) -> EventDraft {
    EventDraft(.executionQueued(TurnOptions()), execution: ExecutionID(rawValue: execution))
  }

  static func started(_ execution: String) -> EventDraft {
    EventDraft(.executionStarted(model: "m"), execution: ExecutionID(rawValue: execution))
  }

  static func completed(_ execution: String) -> EventDraft {
    EventDraft(.executionCompleted(TurnUsage()), execution: ExecutionID(rawValue: execution))
  }

  static func said(_ text: String, clientID: String, execution: String? = nil) -> EventDraft {
    EventDraft(
      .messageAppended(Message(parts: [.text(text)], clientID: clientID)),
      execution: execution.map(ExecutionID.init(rawValue:)))
  }
}

extension Reply {
  init(_ wireID: String, _ session: String, _ execution: String, owner: Owner = .local) {
    self.init(
      wireID: wireID, owner: owner, sessionID: SessionID(rawValue: session),
      executionID: ExecutionID(rawValue: execution), echo: ["n": .string(wireID)], createdAt: .noon)
  }
}

/// The code of the error that `body` ends with; nil where it does not fail.
func code(_ body: () async throws -> Void) async -> CentaurError.Code? {
  do {
    try await body()
    return nil
  } catch {
    return (error as? CentaurError)?.code
  }
}
