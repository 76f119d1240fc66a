import Foundation
import GRDB
import SessionModel
import Testing

@testable import SQLiteStore

/// The log is the product: what a session did is what stands in it, in that order, for good.
struct LogTests {
  private let file: StoreFile

  init() throws { file = try StoreFile() }

  private func sessionID(_ name: String) -> SessionID { SessionID(rawValue: name) }

  @Test("events are numbered from 1 without a gap over all commits, and read as they were committed")
  func dense() async throws {
    let store = try file.open()
    let first = try await store.commit(.create("s"))
    let second = try await store.commit(.step("s", first.token, .note("a"), .note("b"), .note("c")))
    let empty = try await store.commit(.step("s", first.token))
    let last = try await store.commit(.step("s", first.token, .note("d")))
    let committed = first.events + second.events + empty.events + last.events
    #expect(committed.map(\.seq) == [1, 2, 3, 4, 5])
    #expect(try await store.events(sessionID("s"), after: 0, limit: 100) == committed)
    #expect(try await store.session(sessionID("s"))?.lastSeq == 5)
  }

  @Test("a page of large events is short, and the pages are the whole log")
  func largeEvents() async throws {
    let store = try file.open()
    let token = try await store.commit(.create("s")).token
    let text = String(repeating: "x", count: 3 << 20)
    for _ in 0..<5 { _ = try await store.commit(.step("s", token, .note(text))) }
    var cursor: Int64 = 0
    var pages: [Int] = []
    while let last = try await store.events(sessionID("s"), after: cursor, limit: 500).last {
      pages.append(Int(last.seq - cursor))
      cursor = last.seq
    }
    // The session's first event is small.
    #expect(pages == [3, 2, 1])
  }

  @Test("what was said is read without the pieces of turns, however many there are")
  func withoutPieces() async throws {
    let store = try file.open()
    let token = try await store.commit(.create("s")).token
    func delta(_ text: String) -> EventDraft { EventDraft(.itemDelta(ItemDelta(ordinal: 1, field: .text, text: text))) }
    let item = Item(ordinal: 1, status: .completed, content: .message(MessageItem(text: "ab")))
    _ = try await store.commit(.step("s", token, .note("x"), EventDraft(.itemStarted(item)), delta("a"), delta("b")))
    _ = try await store.commit(.step("s", token, EventDraft(.itemCompleted(item)), .note("y")))
    let all = try await store.events(sessionID("s"), after: 0, limit: 100)
    let kept = try await store.eventsWithoutPieces(sessionID("s"), after: 0, limit: 100)
    #expect(kept == all.filter { !SessionEvent.piecesOfTurns.contains($0.payload.kind) })
    #expect(kept.map(\.seq) == [1, 2, 6, 7])
    #expect(try await store.eventsWithoutPieces(sessionID("s"), after: 2, limit: 1).map(\.seq) == [6])
  }

  @Test("what a long read lets the write-ahead log grow to is given back")
  func walSize() async throws {
    let store = try file.open()
    let token = try await store.commit(.create("s")).token
    let text = String(repeating: "x", count: 1 << 20)
    for _ in 0..<64 { _ = try await store.commit(.step("s", token, .note(text))) }
    let size = try FileManager.default.attributesOfItem(atPath: file.path + "-wal")[.size] as? Int ?? 0
    #expect(size > 0 && size <= 16 << 20)
  }

  @Test("commits of one session that come all at once leave no gap and no event twice")
  func concurrentOnOneSession() async throws {
    let store = try file.open()
    let token = try await store.commit(.create("s")).token
    let committed = try await withThrowingTaskGroup(of: [SessionEvent].self) { group in
      for number in 0..<150 {
        group.addTask {
          try await store.commit(.step("s", token, .note("\(number)a"), .note("\(number)b"))).events
        }
      }
      return try await group.reduce(into: []) { $0 += $1 }
    }
    let log = try await store.events(sessionID("s"), after: 1, limit: 1000)
    #expect(log.map(\.seq) == Array(2...301))
    #expect(log == committed.sorted { $0.seq < $1.seq })
  }

  @Test("an event keeps its turn, its time, its text and the harness line that it came from")
  func wholeEvents() async throws {
    let store = try file.open()
    let token = try await store.commit(.create("s")).token
    let item = Item(ordinal: 1, status: .completed, content: .message(MessageItem(text: "é😀\0\n\"\\")))
    let draft = EventDraft(
      .itemCompleted(item), execution: ExecutionID(rawValue: "e"), source: EventSource(offset: 1 << 40, index: 3))
    let unknown = EventDraft(.unrecognized(kind: "moon.rose", ["b": 1, "a": [nil, 0.5]]))
    let committed = try await store.commit(.step("s", token, draft, unknown)).events
    let read = try await store.events(sessionID("s"), after: 1, limit: 10)
    #expect(read == committed)
    #expect(read.map(\.payload) == [draft.payload, unknown.payload])
    #expect(read[0].executionID == draft.executionID && read[0].source == draft.source)
    #expect(read[0].createdAt == .noon + .seconds(1))
    #expect(read[1].executionID == nil && read[1].source == nil)
  }

  @Test("a page holds what follows the cursor, up to its limit, of this session alone")
  func pages() async throws {
    let store = try file.open()
    let token = try await store.commit(.create("s")).token
    let other = try await store.commit(.create("t")).token
    for number in 0..<10 {
      _ = try await store.commit(.step("s", token, .note("s\(number)")))
      _ = try await store.commit(.step("t", other, .note("t\(number)")))
    }
    func page(after: Int64, _ limit: Int) async throws -> [Int64] {
      let events = try await store.events(sessionID("s"), after: after, limit: limit)
      #expect(events.allSatisfy { $0.sessionID == sessionID("s") })
      return events.map(\.seq)
    }
    #expect(try await page(after: 0, 4) == [1, 2, 3, 4])
    #expect(try await page(after: 4, 4) == [5, 6, 7, 8])
    #expect(try await page(after: 8, 4) == [9, 10, 11])
    #expect(try await page(after: 11, 4) == [])
    #expect(try await page(after: 100, 4) == [])
    #expect(try await page(after: -5, 2) == [1, 2])
    #expect(try await store.events(sessionID("nobody"), after: 0, limit: 4) == [])
  }

  @Test("a server that starts again finds everything as it was, and goes on where the log ended")
  func reopened() async throws {
    var store: SQLiteStore? = try file.open()
    let token = try await #require(store).commit(.create("s")).token
    var step = SessionCommit.step(
      "s", token, .said("hi", clientID: "c1", execution: "e"), .queued("e"), .started("e"))
    step.turnKeys = [ExecutionID(rawValue: "e"): "turn-1"]
    step.takes = ["c1": ExecutionID(rawValue: "e")]
    step.replies = [Reply("resp_1", "s", "e")]
    step.harnessState = ["thread": "T", "n": [1, 2.5, nil]]
    _ = try await #require(store).commit(step)

    func seen(_ store: SQLiteStore) async throws -> [String] {
      [
        "\(String(describing: try await store.session(sessionID("s"))))",
        "\(String(describing: try await store.session(owner: .local, key: ThreadKey("api:s"))))",
        "\(try await store.events(sessionID("s"), after: 0, limit: 10))",
        "\(String(describing: try await store.execution(sessionID("s"), turnKey: "turn-1")))",
        "\(try await store.takers(sessionID("s"), clientIDs: ["c1", "c2"]))",
        "\(String(describing: try await store.reply(owner: .local, wireID: "resp_1")))",
        "\(try await store.sessionsWithOpenExecutions())",
      ]
    }
    let before = try await seen(#require(store))
    store = nil
    let again = try file.open()
    #expect(try await seen(again) == before)
    #expect(try await again.session(sessionID("s"))?.harnessState == ["thread": "T", "n": [1, 2.5, nil]])
    #expect(try await again.commit(.step("s", token, .note("on"))).events.map(\.seq) == [5])
  }

  @Test("the adapter's state is replaced by a newer one and kept by steps that bring none")
  func harnessState() async throws {
    let store = try file.open()
    let token = try await store.commit(.create("s")).token
    func commit(_ state: JSONValue?) async throws -> JSONValue? {
      var step = SessionCommit.step("s", token, .note("x"))
      step.harnessState = state
      _ = try await store.commit(step)
      return try await store.session(sessionID("s"))?.harnessState
    }
    #expect(try await store.session(sessionID("s"))?.harnessState == nil)
    #expect(try await commit(["thread": "T"]) == ["thread": "T"])
    #expect(try await commit(nil) == ["thread": "T"])
    #expect(try await commit(["thread": "U"]) == ["thread": "U"])
  }

  @Test("the newest harness line is known since the newest sandbox, so that nothing of it is read twice")
  func newestSource() async throws {
    let store = try file.open()
    let token = try await store.commit(.create("s")).token
    func commit(_ events: EventDraft...) async throws -> EventSource? {
      _ = try await store.commit(
        SessionCommit(session: sessionID("s"), token: token, time: .noon, events: events))
      return try await store.harnessJournal(sessionID("s")).newestSource
    }
    func line(_ offset: Int64, _ index: Int) -> EventDraft {
      EventDraft(.warning(code: "w", message: "m"), source: EventSource(offset: offset, index: index))
    }
    let ready = EventDraft(
      .sandboxReady(SandboxReady(id: "b", backend: "process", origin: .cold, duration: .zero)))
    #expect(try await commit(.note("none yet")) == nil)
    #expect(try await commit(line(10, 0), line(10, 1)) == EventSource(offset: 10, index: 1))
    #expect(try await commit(.note("not of a line")) == EventSource(offset: 10, index: 1))
    #expect(try await commit(ready) == nil)
    #expect(try await commit(line(3, 0)) == EventSource(offset: 3, index: 0))
  }

  @Test("a stored event that was damaged is called corrupt, and the rest of the store stays readable")
  func corrupt() async throws {
    let store = try file.open()
    let token = try await store.commit(.create("s")).token
    _ = try await store.commit(.step("s", token, .note("a"), .note("b")))
    _ = try await store.commit(.create("t"))
    try file.withDatabase { try $0.execute(sql: "UPDATE events SET payload = X'7B' WHERE seq = 2") }
    #expect(await code { _ = try await store.events(sessionID("s"), after: 0, limit: 10) } == .storeCorrupt)
    #expect(try await store.events(sessionID("s"), after: 2, limit: 10).map(\.seq) == [3])
    #expect(try await store.events(sessionID("t"), after: 0, limit: 10).map(\.seq) == [1])
  }
}
