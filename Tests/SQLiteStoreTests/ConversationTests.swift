import GRDB
import SessionModel
import Testing

@testable import SQLiteStore

/// What clients call by names of its own, and what was said as pages from either end.
struct ConversationTests {
  private let file: StoreFile
  private let store: SQLiteStore
  private let session = SessionID(rawValue: "s")
  private let other = Owner(rawValue: "somebody else")

  init() throws {
    file = try StoreFile()
    store = try file.open()
  }

  private static func item(_ id: String) -> AddedItem {
    AddedItem(id: id, shown: ["id": .string(id)], message: Message(parts: [.text(id)]))
  }

  private func opened(_ items: AddedItem...) async throws -> ConversationRecord {
    let record = ConversationRecord(id: "conv_c", owner: .local, metadata: ["a": "b"], createdAt: .noon)
    try await store.add(record, items, limit: .max)
    return record
  }

  @Test("a conversation is found, changed and forgotten by its owner alone")
  func record() async throws {
    let record = try await opened()
    #expect(try await store.conversation(owner: .local, id: "conv_c") == record)
    #expect(try await store.conversation(owner: other, id: "conv_c") == nil)
    #expect(try await !store.setMetadata(["x": "y"], of: "conv_c", owner: other))
    #expect(try await store.setMetadata(["x": "y"], of: "conv_c", owner: .local))
    #expect(try await store.conversation(owner: .local, id: "conv_c")?.metadata == ["x": "y"])
    #expect(try await !store.removeConversation("conv_c", owner: other))
    #expect(try await store.removeConversation("conv_c", owner: .local))
    #expect(try await !store.removeConversation("conv_c", owner: .local))
    #expect(try await store.conversation(owner: .local, id: "conv_c") == nil)
  }

  @Test("what was added waits until a turn takes it, and waits again where that turn was never run")
  func waiting() async throws {
    _ = try await opened(Self.item("msg_a"), Self.item("msg_b"))
    func waiting(_ session: SessionID?) async throws -> [String] {
      try await store.waitingItems("conv_c", takenBy: session).map(\.id)
    }
    #expect(try await waiting(nil) == ["msg_a", "msg_b"])
    let token = try await store.commit(.create("s")).token
    let turn = ExecutionID(rawValue: "e")
    var step = SessionCommit.step("s", token, .said("msg_a", clientID: "msg_a", execution: "e"), .queued("e"))
    step.takes = ["msg_a": turn]
    _ = try await store.commit(step)
    #expect(try await waiting(session) == ["msg_b"])
    try await store.add([Self.item("msg_c")], to: "conv_c", of: session, at: .noon, limit: .max)
    #expect(try await waiting(session) == ["msg_b", "msg_c"])
    var end = SessionCommit.step("s", token, .completed("e"))
    end.releases = [turn]
    _ = try await store.commit(end)
    #expect(try await waiting(session) == ["msg_a", "msg_b", "msg_c"])
  }

  @Test("what a turn that is over has taken is not looked through again")
  func taken() async throws {
    _ = try await opened(Self.item("msg_a"))
    let token = try await store.commit(.create("s")).token
    var step = SessionCommit.step("s", token, .said("msg_a", clientID: "msg_a", execution: "e"), .queued("e"))
    step.takes = ["msg_a": ExecutionID(rawValue: "e")]
    _ = try await store.commit(step)
    _ = try await store.commit(.step("s", token, .completed("e")))
    try await store.add([Self.item("msg_b")], to: "conv_c", of: session, at: .noon, limit: .max)
    let left = try file.withDatabase { db in
      try String.fetchAll(db, sql: "SELECT id FROM conversation_items WHERE is_taken = 0")
    }
    #expect(left == ["msg_b"])
    #expect(try await store.addedItems("conv_c", ids: ["msg_a", "msg_x"]) == [Self.item("msg_a")])
  }

  @Test("an item that was taken out is hidden, and no turn takes it")
  func hidden() async throws {
    _ = try await opened(Self.item("msg_a"), Self.item("msg_b"))
    try await store.hideItem("msg_a", of: "conv_c")
    try await store.hideItem("msg_a", of: "conv_c")
    #expect(try await store.waitingItems("conv_c", takenBy: nil) == [Self.item("msg_b")])
    #expect(try await store.hiddenItems("conv_c", among: ["msg_a", "msg_b"]) == ["msg_a"])
  }

  @Test("a compacted conversation is its owner's alone")
  func compacted() async throws {
    let compacted = CompactedConversation(
      id: "x", owner: .local, execution: ExecutionID(rawValue: "e"), messages: [Message(parts: [.text("said")])],
      createdAt: .noon)
    try await store.add(compacted, limit: .max)
    #expect(try await store.compacted(owner: .local, id: "x") == compacted)
    #expect(try await store.compacted(owner: other, id: "x") == nil)
    #expect(try await store.compacted(owner: .local, id: "y") == nil)
  }

  @Test("an answer that is not kept, or is forgotten, is found by nobody; its turn still has it")
  func replies() async throws {
    let token = try await store.commit(.create("s")).token
    var step = SessionCommit.step("s", token, .queued("e"))
    let unkept = Reply(
      wireID: "resp_e_2", owner: .local, sessionID: session, executionID: ExecutionID(rawValue: "e"), echo: .null,
      createdAt: .noon, isKept: false)
    step.replies = [Reply("resp_e_1", "s", "e"), unkept]
    _ = try await store.commit(step)
    #expect(try await store.reply(owner: .local, wireID: "resp_e_1") != nil)
    #expect(try await store.reply(owner: .local, wireID: "resp_e_2") == nil)
    #expect(try await store.replyOrUnkept(owner: .local, wireID: "resp_e_2") == unkept)
    #expect(try await store.replyOrUnkept(owner: other, wireID: "resp_e_2") == nil)
    step = .step("s", token)
    step.forgets = ["resp_e_1"]
    _ = try await store.commit(step)
    #expect(try await store.reply(owner: .local, wireID: "resp_e_1") == nil)
    #expect(try await store.replyOrUnkept(owner: .local, wireID: "resp_e_1") == nil)
    #expect(try await store.replies(ExecutionID(rawValue: "e")).map(\.isKept) == [false, false])
  }

  @Test("a turn is followed by one that was answered or is yet to be, not by one that came to nothing")
  func followed() async throws {
    let token = try await store.commit(.create("s")).token
    let first = ExecutionID(rawValue: "e1")
    _ = try await store.commit(.step("s", token, .queued("e1"), .completed("e1")))
    let turn = try #require(try await store.execution(first))
    #expect(try await !store.isFollowed(turn))
    let cancelled = EventDraft(.executionCancelled(reason: "x", TurnUsage()), execution: ExecutionID(rawValue: "e2"))
    _ = try await store.commit(.step("s", token, .queued("e2"), cancelled))
    #expect(try await !store.isFollowed(turn))
    _ = try await store.commit(.step("s", token, .queued("e3")))
    #expect(try await store.isFollowed(turn))
    _ = try await store.commit(.step("s", token, .completed("e3")))
    #expect(try await store.isFollowed(turn))
  }

  @Test("a conversation is known by its digest, where one turn of its owner has it and no other")
  func digests() async throws {
    func answered(_ session: String, _ execution: String, _ digest: String, owner: Owner = .local) async throws {
      let token = try await store.commit(.create(session, owner: owner)).token
      var step = SessionCommit.step(session, token, .queued(execution), .completed(execution))
      step.historyDigest = HistoryDigestChange(value: digest, execution: ExecutionID(rawValue: execution))
      _ = try await store.commit(step)
    }
    func known(_ owner: Owner, _ digest: String) async throws -> String? {
      try await store.execution(owner: owner, historyDigest: digest)?.id.rawValue
    }
    try await answered("s1", "e1", "a")
    #expect(try await known(.local, "a") == "e1")
    #expect(try await known(.local, "b") == nil)
    #expect(try await known(other, "a") == nil)
    #expect(try await store.session(SessionID(rawValue: "s1"))?.historyDigest == "a")
    try await answered("s2", "e2", "a", owner: other)
    #expect(try await known(.local, "a") == "e1")
    #expect(try await known(other, "a") == "e2")
    try await answered("s3", "e3", "a")
    #expect(try await known(.local, "a") == nil)
  }

  @Test("the newest instructions before a point are found, by which event ever they came")
  func instructions() async throws {
    func queued(_ execution: String, _ instructions: String?) -> EventDraft {
      var options = TurnOptions()
      options.instructions = instructions
      return EventDraft(.executionQueued(options), execution: ExecutionID(rawValue: execution))
    }
    let resumed = EventDraft(
      .executionResumed(
        [ToolOutput(call: ClientCallID(ExecutionID(rawValue: "b"), 1), parts: [], instructions: "C")], messages: 0),
      execution: ExecutionID(rawValue: "b"))
    let token = try await store.commit(.create("s")).token
    _ = try await store.commit(
      .step(
        "s", token, .said(#""instructions":"X""#, clientID: "c"), queued("a", nil), .started("a"), .completed("a"),
        queued("b", "B"), .started("b"), resumed, .completed("b"), queued("c", nil)))
    func seq(_ before: Int64) async throws -> Int64? {
      try await store.eventWithInstructions(session, before: before)?.seq
    }
    #expect(try await seq(6) == nil, "the session began without any")
    #expect(try await seq(7) == 6)
    #expect(try await seq(8) == 6)
    #expect(try await seq(.max) == 8)
    #expect(try await store.eventWithInstructions(session, before: 9)?.payload == resumed.payload)
  }

  @Test("what was said is read by pages from either end, past any number of pieces")
  func pages() async throws {
    let token = try await store.commit(.create("s")).token
    for number in 1...3 {
      let pieces = (0..<5).map { _ in EventDraft.note("piece") }
      var step = SessionCommit.step("s", token, .said("m\(number)", clientID: "c\(number)"))
      step.events += pieces
      _ = try await store.commit(step)
    }
    func page(_ after: Int64, _ before: Int64, _ newestFirst: Bool, _ limit: Int = 2) async throws -> [Int64] {
      try await store.conversation(session, after: after, before: before, newestFirst: newestFirst, limit: limit)
        .map(\.seq)
    }
    #expect(try await page(0, .max, false) == [1, 2])
    #expect(try await page(2, .max, false) == [8, 14])
    #expect(try await page(0, .max, true) == [14, 8])
    #expect(try await page(0, 8, true) == [2, 1])
    #expect(try await page(2, 14, true) == [8])
    #expect(try await page(14, .max, false) == [])
  }
}
