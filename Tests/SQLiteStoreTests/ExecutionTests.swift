import SessionModel
import Testing

@testable import SQLiteStore

/// Turns as the store projects them from their events: by them a retry attaches and a restarted server goes on.
struct ExecutionTests {
  private let file: StoreFile
  private let store: SQLiteStore
  private let session = SessionID(rawValue: "s")

  init() throws {
    file = try StoreFile()
    store = try file.open()
  }

  private func execution(_ id: String) async throws -> Execution? {
    try await store.execution(ExecutionID(rawValue: id))
  }

  /// A step that the store must refuse, and of which it must write nothing.
  private func refused(_ commit: SessionCommit) async throws -> CentaurError.Code? {
    let before = try file.contents()
    let code = await code { _ = try await store.commit(commit) }
    #expect(try file.contents() == before)
    return code
  }

  @Test("a turn is known by its key, its options, where its events begin and where they end")
  func projection() async throws {
    let token = try await store.commit(.create("s")).token
    let id = ExecutionID(rawValue: "e1")
    let options = TurnOptions(requestedModel: "m", effort: "high", outputSchema: ["type": "object"])
    var step = SessionCommit.step("s", token, .note("not of the turn"), .said("a", clientID: "c", execution: "e1"))
    step.events.append(EventDraft(.executionQueued(options), execution: id))
    step.turnKeys = [id: "k1"]
    _ = try await store.commit(step)
    var expected = Execution(
      id: id, sessionID: session, ordinal: 1, turnKey: "k1", status: .queued, options: options, firstSeq: 3,
      createdAt: .noon + .seconds(1))
    #expect(try await execution("e1") == expected)
    #expect(try await store.execution(session, turnKey: "k1") == expected)

    _ = try await store.commit(.step("s", token, .started("e1")))
    expected.status = .running
    #expect(try await execution("e1") == expected)
    _ = try await store.commit(.step("s", token, EventDraft(.executionWaiting([], TurnUsage()), execution: id)))
    expected.status = .waiting
    #expect(try await execution("e1") == expected)
    _ = try await store.commit(.step("s", token, .started("e1"), .note("between"), .completed("e1")))
    expected.status = .completed
    expected.terminalSeq = 9
    #expect(try await execution("e1") == expected)

    _ = try await store.commit(.step("s", token, .queued("e2")))
    #expect(try await execution("e2")?.ordinal == 2)
    #expect(try await execution("e2")?.turnKey == nil)
    #expect(try await execution("e2")?.options == TurnOptions())
  }

  @Test("a turn that failed or was cancelled has ended as well", arguments: [Execution.Status.failed, .cancelled])
  func otherEnds(_ status: Execution.Status) async throws {
    let token = try await store.commit(.create("s")).token
    let end: EventPayload =
      status == .failed
      ? .executionFailed(ExecutionFailure(code: "c", message: "m"), TurnUsage())
      : .executionCancelled(reason: "user", TurnUsage())
    _ = try await store.commit(
      .step("s", token, .queued("e"), EventDraft(end, execution: ExecutionID(rawValue: "e"))))
    #expect(try await execution("e")?.status == status)
    #expect(try await execution("e")?.terminalSeq == 3)
    #expect(try await store.openExecutions(session).isEmpty)
  }

  @Test("a turn ends once: a second end, or a start after it, is refused")
  func endsOnce() async throws {
    let token = try await store.commit(.create("s")).token
    _ = try await store.commit(.step("s", token, .queued("e"), .started("e"), .completed("e")))
    #expect(try await refused(.step("s", token, .completed("e"))) == .internalFailure)
    #expect(try await refused(.step("s", token, .started("e"))) == .internalFailure)
    let cancelled = EventDraft(
      .executionCancelled(reason: "late", TurnUsage()), execution: ExecutionID(rawValue: "e"))
    #expect(try await refused(.step("s", token, .note("x"), cancelled)) == .internalFailure)
    #expect(try await execution("e")?.status == .completed)
    #expect(try await refused(.step("s", token, .queued("f"), .completed("f"), .completed("f"))) == .internalFailure)
  }

  @Test("items of a background command may come after the turn's end")
  func lateItems() async throws {
    let token = try await store.commit(.create("s")).token
    _ = try await store.commit(.step("s", token, .queued("e"), .completed("e")))
    let late = EventDraft(
      .itemCompleted(Item(ordinal: 1, status: .completed, content: .command(CommandItem(command: "make")))),
      execution: ExecutionID(rawValue: "e"))
    #expect(try await store.commit(.step("s", token, late)).events.map(\.seq) == [4])
    #expect(try await execution("e")?.terminalSeq == 3)
  }

  @Test("an event that starts or ends a turn that nobody queued is refused")
  func unknown() async throws {
    let token = try await store.commit(.create("s")).token
    #expect(try await refused(.step("s", token, .started("nobody"))) == .internalFailure)
    #expect(try await refused(.step("s", token, .completed("nobody"))) == .internalFailure)
  }

  @Test("who drives one session cannot end a turn of another")
  func otherSession() async throws {
    let token = try await store.commit(.create("s")).token
    let other = try await store.commit(.create("t")).token
    _ = try await store.commit(.step("s", token, .queued("e"), .started("e")))
    #expect(try await refused(.step("t", other, .completed("e"))) == .internalFailure)
    #expect(try await execution("e")?.status == .running)
  }

  @Test("one turn of a session runs at a time; others wait in line, and other sessions run theirs")
  func oneActive() async throws {
    let token = try await store.commit(.create("s")).token
    let other = try await store.commit(.create("t")).token
    _ = try await store.commit(.step("s", token, .queued("e1"), .started("e1"), .queued("e2")))
    _ = try await store.commit(.step("t", other, .queued("e3"), .started("e3")))
    #expect(try await refused(.step("s", token, .started("e2"))) == .internalFailure)
    let waiting = EventDraft(.executionWaiting([], TurnUsage()), execution: ExecutionID(rawValue: "e1"))
    _ = try await store.commit(.step("s", token, waiting))
    #expect(try await refused(.step("s", token, .started("e2"))) == .internalFailure)
    _ = try await store.commit(.step("s", token, .completed("e1"), .started("e2")))
    #expect(try await execution("e2")?.status == .running)
  }

  @Test("a starting server finds the turns that have no end, oldest first, and their sessions")
  func open() async throws {
    for name in ["s", "t", "u"] {
      let token = try await store.commit(.create(name)).token
      _ = try await store.commit(.step(name, token, .queued("\(name)1"), .completed("\(name)1")))
      guard name != "t" else { continue }
      _ = try await store.commit(.step(name, token, .queued("\(name)2"), .started("\(name)2"), .queued("\(name)3")))
    }
    #expect(try await store.openExecutions(session).map(\.id.rawValue) == ["s2", "s3"])
    #expect(try await store.openExecutions(SessionID(rawValue: "t")).isEmpty)
    #expect(try await store.sessionsWithOpenExecutions().map(\.rawValue) == ["s", "u"])
    #expect(try await store.newestAnswered(session, before: .max)?.id.rawValue == "s1")
    #expect(try await store.newestAnswered(session, before: 1) == nil)
    #expect(try await store.newestExecution(session)?.id.rawValue == "s3")
    #expect(try await store.newestExecution(SessionID(rawValue: "t"))?.id.rawValue == "t1")
    #expect(try await store.newestExecution(SessionID(rawValue: "nobody")) == nil)
  }
}
