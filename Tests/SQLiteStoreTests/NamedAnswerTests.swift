import SessionModel
import Testing

@testable import SQLiteStore

/// Answers by what was asked: how a retry is kept from being done twice.
struct NamedAnswerTests {
  private let file: StoreFile
  private let store: SQLiteStore

  init() throws {
    file = try StoreFile()
    store = try file.open()
  }

  private static func reply(_ execution: String, _ name: String, owner: Owner = .local) -> Reply {
    Reply(
      wireID: "resp_\(execution)_1", owner: owner, sessionID: SessionID(rawValue: "s \(execution)"),
      executionID: ExecutionID(rawValue: execution), echo: .null, createdAt: .noon,
      request: RequestName(value: name, digest: "d \(name)"))
  }

  /// A session with one turn, which is asked by a name and comes to this end, 30 seconds after noon.
  @discardableResult
  private func turn(
    _ execution: String, _ end: EventPayload?, name: String = "n", owner: Owner = .local
  ) async throws -> FencingToken {
    let session = "s \(execution)"
    let token = try await store.commit(.create(session, owner: owner)).token
    var step = SessionCommit.step(session, token, .queued(execution))
    step.replies = [Self.reply(execution, name, owner: owner)]
    _ = try await store.commit(step)
    guard let end else { return token }
    var last = SessionCommit.step(session, token, EventDraft(end, execution: ExecutionID(rawValue: execution)))
    last.time = .noon + .seconds(30)
    _ = try await store.commit(last)
    return token
  }

  private func answers(_ name: String, since: Timestamp, owner: Owner = .local) async throws -> [String] {
    try await store.answers(owner: owner, requestName: name, endedSince: since).map(\.executionID.rawValue)
  }

  @Test("those that run and those that were answered since a time, newest first; none that failed, none of others")
  func answers() async throws {
    try await turn("done", .executionCompleted(TurnUsage()))
    try await turn("runs", nil)
    try await turn("failed", .executionFailed(ExecutionFailure(code: "c", message: "m"), TurnUsage()))
    try await turn("cancelled", .executionCancelled(reason: "r", TurnUsage()))
    try await turn("other", nil, name: "o")
    try await turn("stranger", nil, owner: Owner(rawValue: "stranger"))
    #expect(try await answers("n", since: .noon + .seconds(30)) == ["runs", "done"])
    #expect(try await answers("n", since: .noon + .seconds(31)) == ["runs"])
    #expect(try await answers("n", since: .noon, owner: Owner(rawValue: "stranger")) == ["stranger"])
    let found = try await store.answers(owner: .local, requestName: "n", endedSince: .noon)
    #expect(found.map(\.isOver) == [false, true])
    #expect(found.last?.wireID == "resp_done_1")
    #expect(found.last?.sessionID == SessionID(rawValue: "s done"))
    #expect(found.last?.createdAt == .noon)
  }

  @Test("the newest answer of a name is found as it was kept, however its turn went, by its owner alone")
  func reply() async throws {
    try await turn("failed", .executionFailed(ExecutionFailure(code: "c", message: "m"), TurnUsage()))
    #expect(try await store.reply(owner: .local, requestName: "n") == Self.reply("failed", "n"))
    #expect(try await store.reply(owner: Owner(rawValue: "stranger"), requestName: "n") == nil)
    try await turn("second", nil)
    #expect(try await store.reply(owner: .local, requestName: "n") == Self.reply("second", "n"))
  }

  @Test("a turn that was never run leaves the name of its request free")
  func released() async throws {
    let token = try await turn("e", nil)
    var step = SessionCommit.step(
      "s e", token,
      EventDraft(
        .executionFailed(ExecutionFailure(code: "no_free_sandbox", message: "m"), TurnUsage()),
        execution: ExecutionID(rawValue: "e")))
    step.releases = [ExecutionID(rawValue: "e")]
    _ = try await store.commit(step)
    #expect(try await store.reply(owner: .local, requestName: "n") == nil)
    #expect(try await store.replies(ExecutionID(rawValue: "e")).count == 1)
  }
}
