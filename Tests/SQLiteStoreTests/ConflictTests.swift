import SessionModel
import Testing

@testable import SQLiteStore

/// A request that comes twice runs once: the store's unique keys decide, and who comes second changes nothing.
struct ConflictTests {
  private let file: StoreFile
  private let store: SQLiteStore

  init() throws {
    file = try StoreFile()
    store = try file.open()
  }

  /// The key that a step ran into; nothing of the step was written.
  private func conflict(_ commit: SessionCommit) async throws -> StoreConflict? {
    let before = try file.contents()
    let conflict = await #expect(throws: StoreConflict.self) { try await store.commit(commit) }
    #expect(try file.contents() == before)
    return conflict
  }

  /// A session whose first turn took message `c1` under turn key `k1` and answers as `resp_1`.
  private func taken() async throws -> FencingToken {
    let token = try await store.commit(.create("s")).token
    var step = SessionCommit.step("s", token, .said("a", clientID: "c1", execution: "e1"), .queued("e1"))
    step.turnKeys = [ExecutionID(rawValue: "e1"): "k1"]
    step.takes = ["c1": ExecutionID(rawValue: "e1")]
    step.replies = [Reply("resp_1", "s", "e1")]
    _ = try await store.commit(step)
    return token
  }

  @Test("a thread key names one session of an owner; of two that are created at once one is")
  func threadKey() async throws {
    _ = try await store.commit(.create("s", key: "api:x"))
    #expect(try await conflict(.create("t", key: "api:x")) == .threadKey)
    _ = try await store.commit(.create("u", key: "api:x", owner: Owner(rawValue: "somebody else")))
    #expect(try await store.session(owner: .local, key: ThreadKey("api:x"))?.id.rawValue == "s")
    #expect(
      try await store.session(owner: Owner(rawValue: "somebody else"), key: ThreadKey("api:x"))?.id.rawValue == "u")
    #expect(try await store.session(SessionID(rawValue: "t")) == nil)
  }

  @Test("keys that differ in their bytes name different sessions")
  func spellings() async throws {
    _ = try await store.commit(.create("s", key: "api:caf\u{E9}"))
    _ = try await store.commit(.create("t", key: "api:cafe\u{301}"))
    #expect(try await store.session(owner: .local, key: ThreadKey("api:cafe\u{301}"))?.id.rawValue == "t")
  }

  @Test("a request that was taken under its turn key is not run again")
  func turnKey() async throws {
    let token = try await taken()
    var step = SessionCommit.step("s", token, .said("a", clientID: "c2", execution: "e2"), .queued("e2"))
    step.turnKeys = [ExecutionID(rawValue: "e2"): "k1"]
    step.takes = ["c2": ExecutionID(rawValue: "e2")]
    #expect(try await conflict(step) == .turnKey("k1"))
    step.turnKeys = [ExecutionID(rawValue: "e2"): "k2"]
    #expect(try await store.commit(step).events.map(\.seq) == [4, 5])
  }

  @Test("the same turn key in another session is another turn")
  func turnKeyElsewhere() async throws {
    _ = try await taken()
    let token = try await store.commit(.create("t")).token
    var step = SessionCommit.step("t", token, .queued("e2"))
    step.turnKeys = [ExecutionID(rawValue: "e2"): "k1"]
    _ = try await store.commit(step)
    #expect(try await store.execution(SessionID(rawValue: "t"), turnKey: "k1")?.id.rawValue == "e2")
    #expect(try await store.execution(SessionID(rawValue: "s"), turnKey: "k1")?.id.rawValue == "e1")
  }

  @Test("a message that was taken is not taken again")
  func clientID() async throws {
    let token = try await taken()
    var step = SessionCommit.step("s", token, .said("new", clientID: "c2"), .said("a", clientID: "c1"))
    step.takes = ["c2": nil, "c1": nil]
    #expect(try await conflict(step) == .clientID("c1"))
    #expect(try await store.takers(SessionID(rawValue: "s"), clientIDs: ["c1", "c2"]).keys.sorted() == ["c1"])
  }

  @Test("an answer's id on the wire is given once, and a step that fails at its very end is undone whole")
  func wireID() async throws {
    let token = try await taken()
    var step = SessionCommit.step("s", token, .said("b", clientID: "c2", execution: "e2"), .queued("e2"))
    step.turnKeys = [ExecutionID(rawValue: "e2"): "k2"]
    step.takes = ["c2": ExecutionID(rawValue: "e2")]
    step.harnessState = ["lost": true]
    step.replies = [Reply("resp_2", "s", "e2"), Reply("resp_1", "s", "e2")]
    #expect(try await conflict(step) == .wireID("resp_1"))
    #expect(try await store.execution(ExecutionID(rawValue: "e2")) == nil)
    #expect(try await store.reply(owner: .local, wireID: "resp_2") == nil)
    #expect(try await store.session(SessionID(rawValue: "s"))?.lastSeq == 3)
  }

  @Test("a creation that fails later leaves no session behind")
  func failedCreation() async throws {
    _ = try await taken()
    var creation = try SessionCommit.create("t")
    creation.replies = [Reply("resp_1", "t", "e9")]
    #expect(try await conflict(creation) == .wireID("resp_1"))
    #expect(try await store.session(SessionID(rawValue: "t")) == nil)
    creation.replies = []
    #expect(try await store.commit(creation).events.map(\.seq) == [1])
  }
}
