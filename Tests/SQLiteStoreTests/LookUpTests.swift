import SessionModel
import Testing

@testable import SQLiteStore

/// What a request is recognised by: its messages' ids, the answers that it knows, and the list of sessions.
struct LookUpTests {
  private let file: StoreFile
  private let store: SQLiteStore
  private let session = SessionID(rawValue: "s")

  init() throws {
    file = try StoreFile()
    store = try file.open()
  }

  @Test("which turn took a message, and where it stands in the log; unknown ids are left out")
  func takers() async throws {
    let token = try await store.commit(.create("s")).token
    var step = SessionCommit.step("s", token, .said("old", clientID: "h"), .said("new", clientID: "c", execution: "e"))
    step.events.append(.queued("e"))
    step.takes = ["h": nil, "c": ExecutionID(rawValue: "e"), "unsaid": ExecutionID(rawValue: "e")]
    _ = try await store.commit(step)
    let takers = try await store.takers(session, clientIDs: ["h", "c", "unsaid", "nobody's"])
    #expect(
      takers == [
        "h": TakenInput(execution: nil, seq: 2), "c": TakenInput(execution: ExecutionID(rawValue: "e"), seq: 3),
        "unsaid": TakenInput(execution: ExecutionID(rawValue: "e"), seq: 0),
      ])
    #expect(try await store.takers(session, clientIDs: []).isEmpty)
    #expect(try await store.takers(SessionID(rawValue: "t"), clientIDs: ["c"]).isEmpty)
  }

  @Test("an answer is found by its id on the wire, by its owner alone")
  func reply() async throws {
    let token = try await store.commit(.create("s")).token
    var step = SessionCommit.step("s", token, .queued("e"))
    let reply = Reply(
      wireID: "resp_e_1", owner: .local, sessionID: session, executionID: ExecutionID(rawValue: "e"),
      echo: ["model": "gpt", "omit": ["a", 1, nil]], createdAt: .noon)
    step.replies = [reply]
    _ = try await store.commit(step)
    #expect(try await store.reply(owner: .local, wireID: "resp_e_1") == reply)
    #expect(try await store.reply(owner: Owner(rawValue: "somebody else"), wireID: "resp_e_1") == nil)
    #expect(try await store.reply(owner: .local, wireID: "resp_e_2") == nil)
  }

  @Test("a turn's answers come in the order in which they were given")
  func replies() async throws {
    let token = try await store.commit(.create("s")).token
    for ids in [["z", "m"], ["a"]] {
      var step = SessionCommit.step("s", token, .note("x"))
      step.replies = ids.map { Reply($0, "s", "e") } + ids.map { Reply("other \($0)", "s", "f") }
      _ = try await store.commit(step)
    }
    #expect(try await store.replies(ExecutionID(rawValue: "e")).map(\.wireID) == ["z", "m", "a"])
    #expect(try await store.replies(ExecutionID(rawValue: "nobody")).isEmpty)
  }

  @Test("a list of sessions goes from the newest to the oldest in pages, and shows an owner only his own")
  func sessions() async throws {
    for number in 1...7 {
      _ = try await store.commit(.create("s\(number)"))
      _ = try await store.commit(.create("t\(number)", owner: Owner(rawValue: "somebody else")))
    }
    func page(before: String?, _ limit: Int) async throws -> [String] {
      try await store.sessions(owner: .local, before: before.map(SessionID.init(rawValue:)), limit: limit)
        .map(\.id.rawValue)
    }
    #expect(try await page(before: nil, 3) == ["s7", "s6", "s5"])
    #expect(try await page(before: "s5", 3) == ["s4", "s3", "s2"])
    #expect(try await page(before: "s2", 3) == ["s1"])
    #expect(try await page(before: "s1", 3) == [])
    #expect(try await page(before: "nobody", 3) == [])
    #expect(try await page(before: nil, 100).count == 7)
    // Somebody else's session tells nothing of when it was made.
    #expect(try await page(before: "t5", 3) == [])
  }

  @Test("a session keeps what it was created with")
  func session() async throws {
    let created = Session(
      id: session, owner: .local, key: try ThreadKey("api:x y"), harness: .claude, persona: "reviewer",
      instructions: "Be brief.\nBe kind.", createdAt: .noon)
    let creation = SessionCommit.Creation(session: created, holder: "one", leaseUntil: .far)
    _ = try await store.commit(SessionCommit(session: session, creation: creation, token: nil, time: .noon))
    #expect(try await store.session(session) == created)
    #expect(try await store.session(owner: .local, key: ThreadKey("api:x y")) == created)
    #expect(try await store.session(owner: Owner(rawValue: "somebody else"), key: ThreadKey("api:x y")) == nil)
    #expect(try await store.session(SessionID(rawValue: "nobody")) == nil)
  }
}
