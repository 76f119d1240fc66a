import SQLiteStore
import SessionModel
import Testing

/// What a next server needs of a harness is in the store exactly when the events are that belong to it.
struct HarnessJournalTests {
  let file: StoreFile
  let store: SQLiteStore
  let token: FencingToken

  init() async throws {
    file = try StoreFile()
    store = try file.open()
    token = try await store.commit(.create("s")).token
  }

  private func entries(_ session: String = "s") async throws -> [String] {
    try await store.harnessJournal(SessionID(rawValue: session)).entries.map { String(decoding: $0, as: UTF8.self) }
  }

  private func commit(
    _ changes: HarnessJournalChange..., token: FencingToken? = nil, events: [EventDraft] = []
  ) async throws {
    _ = try await store.commit(
      SessionCommit(
        session: SessionID(rawValue: "s"), token: token ?? self.token, time: .noon, events: events,
        harnessJournal: changes))
  }

  private static func entry(_ text: String) -> [UInt8] { Array(text.utf8) }

  @Test("entries are kept in order; a restart takes the place of all, and clearing leaves none")
  func changes() async throws {
    #expect(try await entries() == [])
    try await commit(.restart(Self.entry("one")))
    try await commit(.append(Self.entry("two")), .append(Self.entry("three")))
    #expect(try await entries() == ["one", "two", "three"])
    try await commit(.restart(Self.entry("four")), .append(Self.entry("five")))
    #expect(try await entries() == ["four", "five"])
    try await commit()
    #expect(try await entries() == ["four", "five"])
    try await commit(.clear)
    #expect(try await entries() == [])
  }

  @Test("a step that is refused changes nothing of it: an input is not remembered whose events are not there")
  func refused() async throws {
    try await commit(.restart(Self.entry("one")))
    let stale = FencingToken(epoch: token.epoch - 1)
    await #expect(throws: CentaurError.self) { try await commit(.append(Self.entry("two")), token: stale) }
    let unknown = EventDraft(.executionStarted(model: "m"), execution: ExecutionID(rawValue: "unknown"))
    await #expect(throws: CentaurError.self) { try await commit(.append(Self.entry("three")), events: [unknown]) }
    #expect(try await entries() == ["one"])
  }

  @Test("each session has its own")
  func sessions() async throws {
    let other = try await store.commit(.create("t")).token
    try await commit(.restart(Self.entry("one")))
    _ = try await store.commit(
      SessionCommit(
        session: SessionID(rawValue: "t"), token: other, time: .noon, harnessJournal: [.restart(Self.entry("two"))]))
    try await commit(.clear)
    #expect(try await entries() == [])
    #expect(try await entries("t") == ["two"])
  }
}
