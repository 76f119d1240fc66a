import GRDB
import SessionModel
import Synchronization
import Testing

@testable import SQLiteStore

/// A session may live for years: no look-up may cost more for it than for a new one.
struct QueryCostTests {
  private let file: StoreFile
  /// The SQL that the store has run.
  private let statements = Statements()
  private let store: SQLiteStore
  private let session = SessionID(rawValue: "s")

  private final class Statements: Sendable {
    private let all = Mutex<[String]>([])
    func add(_ sql: String) { all.withLock { $0.append(sql) } }
    /// Those about our tables, and forgets all.
    func take() -> [String] {
      all.withLock { statements in
        defer { statements = [] }
        // A trigger's statements are told as comments.
        return statements.filter {
          !$0.hasPrefix("--")
            && $0.contains(
              /\b(sessions|executions|events|inputs|replies|conversations|conversation_items|hidden_items|compacted_conversations|kept)\b/
            )
        }
      }
    }
  }

  init() throws {
    file = try StoreFile()
    let statements = statements
    store = try file.open(faults: StoreFaults(onStatement: { statements.add($0) }))
  }

  /// How SQLite goes about a statement.
  private func plan(_ sql: String) throws -> [String] {
    try file.withDatabase { db in
      let statement = try db.makeStatement(sql: "EXPLAIN QUERY PLAN \(sql)")
      statement.setUncheckedArguments(StatementArguments())
      return try Row.fetchAll(statement).map { $0["detail"] }
    }
  }

  @Test("a page of events is one range of the primary key")
  func page() throws {
    #expect(try plan(Rows.eventsWithoutPiecesQuery) == plan(Rows.eventsQuery))
    #expect(try plan(Rows.eventsQuery) == ["SEARCH events USING PRIMARY KEY (session=? AND seq>?)"])
  }

  @Test("a page of what was said is one range of its index, whatever else the turns left between")
  func conversation() throws {
    let kinds = SessionEvent.kindsOfConversation.map { "'\($0)'" }.joined(separator: ", ")
    #expect(Schema.conversationEvents == "kind IN (\(kinds))")
    for newestFirst in [false, true] {
      #expect(
        try plan(Rows.conversationQuery(newestFirst: newestFirst))
          == ["SEARCH events USING INDEX conversation_events (session=? AND seq>? AND seq<?)"])
    }
  }

  @Test("which instructions held is the end of one range of its index")
  func instructions() throws {
    #expect(
      try plan(Rows.instructionsQuery)
        == ["SEARCH events USING INDEX events_with_instructions (session=? AND seq<?)"])
  }

  @Test("no statement of a turn goes through all events, turns, inputs or answers")
  func noScan() async throws {
    _ = statements.take()
    let token = try await store.commit(.create("s")).token
    let id = ExecutionID(rawValue: "e")
    var step = SessionCommit.step("s", token, .said("a", clientID: "c", execution: "e"), .queued("e"), .started("e"))
    step.turnKeys = [id: "k"]
    step.takes = ["c": id]
    step.replies = [Reply("resp", "s", "e")]
    step.harnessState = ["thread": "T"]
    _ = try await store.commit(step)
    step = .step("s", token, .completed("e"))
    step.historyDigest = HistoryDigestChange(value: "d", execution: id)
    _ = try await store.commit(step)
    _ = try await store.session(session)
    _ = try await store.session(owner: .local, key: ThreadKey("api:s"))
    _ = try await store.sessions(owner: .local, before: nil, limit: 10)
    _ = try await store.sessions(owner: .local, before: session, limit: 10)
    _ = try await store.events(session, after: 0, limit: 10)
    _ = try await store.execution(id)
    _ = try await store.execution(session, turnKey: "k")
    _ = try await store.openExecutions(session)
    _ = try await store.newestExecution(session)
    _ = try await store.newestAnswered(session, before: .max)
    _ = try await store.takers(session, clientIDs: ["c"])
    _ = try await store.reply(owner: .local, wireID: "resp")
    _ = try await store.replies(id)
    _ = try await store.replyOrUnkept(owner: .local, wireID: "resp")
    _ = try await store.reply(owner: .local, requestName: "n")
    _ = try await store.answers(owner: .local, requestName: "n", endedSince: .noon)
    _ = try await store.harnessJournal(session)
    _ = try await store.acquireLease(session, holder: "server-1", now: .noon, until: .far) { _ in false }
    try await store.releaseLease(session, token: token)

    let item = AddedItem(id: "msg_a", shown: .null, message: Message(parts: []))
    let conversation = ConversationRecord(id: "conv_c", owner: .local, metadata: .null, createdAt: .noon)
    try await store.add(conversation, [item], limit: .max)
    _ = try await store.conversation(owner: .local, id: "conv_c")
    _ = try await store.setMetadata(.null, of: "conv_c", owner: .local)
    let second = AddedItem(id: "msg_b", shown: .null, message: Message(parts: []))
    // Over its limit it looks for what turns have taken.
    await #expect(throws: CentaurError.self) {
      try await store.add([second], to: "conv_c", of: session, at: .noon, limit: 1)
    }
    try await store.add([second], to: "conv_c", of: session, at: .noon, limit: .max)
    _ = try await store.waitingItems("conv_c", takenBy: session)
    _ = try await store.addedItems("conv_c", ids: ["msg_a"])
    try await store.hideItem("msg_a", of: "conv_c")
    _ = try await store.hiddenItems("conv_c", among: ["msg_a"])
    _ = try await store.removeConversation("conv_c", owner: .local)
    let compacted = CompactedConversation(id: "x", owner: .local, execution: id, messages: [], createdAt: .noon)
    try await store.add(compacted, limit: .max)
    _ = try await store.compacted(owner: .local, id: "x")
    try await store.removeKept(before: .noon)
    try await store.removeKept(of: session)
    _ = try await store.execution(owner: .local, historyDigest: "d")
    _ = try await store.executions(session, after: 0, limit: 10)
    _ = try await store.isFollowed(#require(store.execution(id)))
    for newestFirst in [false, true] {
      _ = try await store.conversation(session, after: 0, before: .max, newestFirst: newestFirst, limit: 10)
    }

    let statements = Set(statements.take())
    #expect(statements.count > 15)
    for sql in statements {
      for line in try plan(sql) { #expect(!line.hasPrefix("SCAN"), "\(line): \(sql)") }
    }
  }

  @Test("a starting server looks through the turns that have no end, not through those that have")
  func restart() async throws {
    _ = statements.take()
    _ = try await store.sessionsWithOpenExecutions()
    let sql = try #require(statements.take().first)
    let scans = try plan(sql).filter { $0.hasPrefix("SCAN") }
    #expect(scans.allSatisfy { $0.hasSuffix("INDEX open_executions") }, "\(scans)")
  }

  @Test("the thousandth turn takes as many statements as the first")
  func sameForever() async throws {
    let token = try await store.commit(.create("s")).token
    func turn(_ number: Int) async throws -> Int {
      _ = statements.take()
      let execution = "e\(number)"
      var step = SessionCommit.step(
        "s", token, .said("a", clientID: "c\(number)", execution: execution), .queued(execution), .started(execution))
      step.takes = ["c\(number)": ExecutionID(rawValue: execution)]
      _ = try await store.commit(step)
      let last = try await store.commit(.step("s", token, .completed(execution)))
      _ = try await store.events(session, after: last.events[0].seq - 4, limit: 4)
      _ = try await store.newestExecution(session)
      _ = try await store.openExecutions(session)
      return statements.take().count
    }
    let first = try await turn(0)
    var counts: Set<Int> = []
    for number in 1..<200 { counts.insert(try await turn(number)) }
    #expect(counts == [first])
  }
}
