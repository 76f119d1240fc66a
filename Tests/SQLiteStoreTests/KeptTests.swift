import GRDB
import SessionModel
import Testing

@testable import SQLiteStore

/// What clients keep here beside sessions has its limit and its end. Failed, one program fills everybody's disk, or is
/// told that it has when it has not.
struct KeptTests {
  private let file: StoreFile
  private let store: SQLiteStore
  private let other = Owner(rawValue: "somebody else")

  init() throws {
    file = try StoreFile()
    store = try file.open()
  }

  private static func item(_ id: String) -> AddedItem {
    AddedItem(id: id, shown: .null, message: Message(parts: [.text(String(repeating: "x", count: 1000))]))
  }

  private func open(_ id: String, owner: Owner = .local, _ items: [AddedItem], limit: Int = .max) async throws {
    let record = ConversationRecord(id: id, owner: owner, metadata: .null, createdAt: .noon)
    try await store.add(record, items, limit: limit)
  }

  private func compact(
    _ id: String, _ owner: Owner = .local, of execution: String? = nil, at time: Timestamp = .noon, limit: Int = .max
  ) async throws {
    let execution = execution.map(ExecutionID.init(rawValue:))
    try await store.add(
      CompactedConversation(id: id, owner: owner, execution: execution, messages: [], createdAt: time), limit: limit)
  }

  private func kept(_ owner: Owner = .local) throws -> Int {
    try file.withDatabase {
      try Int.fetchOne($0, sql: "SELECT bytes FROM kept WHERE owner = ?", arguments: [owner.rawValue]) ?? 0
    }
  }

  private func isRefused(_ body: () async throws -> Void) async -> Bool {
    do {
      try await body()
      return false
    } catch { return (error as? CentaurError)?.code == .keptLimit }
  }

  /// A session that has taken an item.
  private func takes(_ item: String, in conversation: String) async throws {
    let key = "api:conv:\(conversation.dropFirst(5))"
    let token = try await store.commit(.create("s-\(conversation)", key: key)).token
    let execution = "e-\(conversation)"
    var step = SessionCommit.step(
      "s-\(conversation)", token, .said("x", clientID: item, execution: execution), .queued(execution),
      .completed(execution))
    step.takes = [item: ExecutionID(rawValue: execution)]
    _ = try await store.commit(step)
  }

  @Test("up to the limit things are kept, beyond it they are refused and nothing is; another owner's are another's")
  func limit() async throws {
    try await open("conv_a", [Self.item("msg_a")])
    let one = try kept()
    #expect(one > 1500)
    try await compact("x", limit: one + 600)
    let two = try kept()
    #expect(two > one + 500 && two < one + 600)
    #expect(await isRefused { try await compact("y", limit: two + 500) })
    #expect(
      await isRefused {
        try await store.add([Self.item("msg_b")], to: "conv_a", of: nil, at: .noon, limit: two + one - 1)
      })
    #expect(await isRefused { try await open("conv_b", [Self.item("msg_c")], limit: two + one - 1) })
    #expect(try kept() == two)
    #expect(try await store.compacted(owner: .local, id: "y") == nil)
    #expect(try await store.conversation(owner: .local, id: "conv_b") == nil)
    #expect(try await store.waitingItems("conv_a", takenBy: nil).map(\.id) == ["msg_a"])
    try await store.add([Self.item("msg_b")], to: "conv_a", of: nil, at: .noon, limit: two + one)
    try await open("conv_o", owner: other, [Self.item("msg_o")], limit: one)
    #expect(try kept(other) == one)
  }

  @Test("what is deleted, taken out or taken by a turn is not counted any more")
  func room() async throws {
    try await open("conv_a", [Self.item("msg_a"), Self.item("msg_b")])
    let two = try kept()
    try await store.hideItem("msg_a", of: "conv_a")
    #expect(try kept() == two / 2)
    try await takes("msg_b", in: "conv_a")
    // That a turn has it is seen where room is needed.
    try await open("conv_b", [Self.item("msg_c")], limit: two / 2)
    #expect(try kept() == two / 2)
    #expect(try await store.addedItems("conv_a", ids: ["msg_b"]).count == 1, "it is shown as its client gave it")
    #expect(try await store.removeConversation("conv_b", owner: .local))
    #expect(try kept() == 0)
    #expect(try await store.removeConversation("conv_a", owner: .local))
    #expect(try kept() == 0)
  }

  @Test("what was kept too long goes, but for what turns have taken")
  func age() async throws {
    try await open("conv_a", [Self.item("msg_a"), Self.item("msg_b")])
    try await takes("msg_a", in: "conv_a")
    try await compact("x")
    try await compact("y", at: .far)
    try await store.removeKept(before: .noon)
    #expect(try await store.compacted(owner: .local, id: "x") != nil)
    try await store.removeKept(before: Timestamp(milliseconds: Timestamp.noon.milliseconds + 1))
    #expect(try await store.compacted(owner: .local, id: "x") == nil)
    #expect(try await store.compacted(owner: .local, id: "y") != nil)
    #expect(try await store.addedItems("conv_a", ids: ["msg_a", "msg_b"]).map(\.id) == ["msg_a"])
  }

  @Test("what belongs to a session goes with it, and nothing of another's")
  func ofSession() async throws {
    for id in ["conv_a", "conv_b"] {
      try await open(id, [Self.item("msg_1\(id)"), Self.item("msg_2\(id)")])
      try await takes("msg_1\(id)", in: id)
      try await compact(id, of: "e-\(id)")
    }
    try await store.removeKept(of: SessionID(rawValue: "s-conv_a"))
    #expect(try await store.compacted(owner: .local, id: "conv_a") == nil)
    #expect(try await store.compacted(owner: .local, id: "conv_b") != nil)
    #expect(try await store.waitingItems("conv_a", takenBy: SessionID(rawValue: "s-conv_a")) == [])
    #expect(try await store.waitingItems("conv_b", takenBy: SessionID(rawValue: "s-conv_b")).count == 1)
  }

  @Test("what an older version kept is counted, and is as old as its migration")
  func migrated() async throws {
    let older = try StoreFile()
    let queue = try DatabaseQueue(path: older.path)
    try Schema.migrator.migrate(queue, upTo: "v5")
    try await queue.write { db in
      try db.execute(
        sql: """
          INSERT INTO compacted_conversations (id, owner, messages) VALUES ('x', 'local', CAST('[]' AS BLOB));
          INSERT INTO conversations (id, owner, metadata, created_at) VALUES ('conv_a', 'local', CAST('{}' AS BLOB), 1);
          INSERT INTO conversation_items (conversation, id, shown, message, is_taken)
            VALUES ('conv_a', 'msg_a', CAST('{}' AS BLOB), CAST('{"role":"user","parts":[]}' AS BLOB), 0),
              ('conv_a', 'msg_b', CAST('{}' AS BLOB), CAST('{"role":"user","parts":[]}' AS BLOB), 1);
          """)
    }
    try queue.close()
    let store = try older.open()
    let bytes = try older.withDatabase { try Int.fetchOne($0, sql: "SELECT bytes FROM kept WHERE owner = 'local'") }
    #expect(bytes == 2 + 2 + 26 + 2 * 512)
    try await store.removeKept(before: .past)
    #expect(try await store.compacted(owner: .local, id: "x") != nil)
    #expect(try await store.waitingItems("conv_a", takenBy: nil).map(\.id) == ["msg_a"])
  }
}
