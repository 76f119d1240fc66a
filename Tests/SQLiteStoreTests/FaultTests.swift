import SessionModel
import Synchronization
import Testing

@testable import SQLiteStore

/// A disk that is full for a moment costs the turns of that moment, not the log.
struct FaultTests {
  private struct DiskFull: Error {}

  private let file: StoreFile
  /// Where transactions fail while it is set.
  private let broken = Faulty()
  private let store: SQLiteStore

  /// Fails at one point for as long as it is told to.
  private final class Faulty: Sendable {
    private let point = Mutex<StoreFaults.Point?>(nil)
    func set(_ point: StoreFaults.Point?) { self.point.withLock { $0 = point } }
    func check(_ point: StoreFaults.Point) throws {
      if self.point.withLock({ $0 }) == point { throw DiskFull() }
    }
  }

  init() throws {
    file = try StoreFile()
    let broken = broken
    store = try file.open(faults: StoreFaults(check: { try broken.check($0) }))
  }

  @Test(
    "a transaction that fails writes nothing, says so, and the next one goes on without a gap",
    arguments: [StoreFaults.Point.begin, .commit])
  func fails(_ point: StoreFaults.Point) async throws {
    let token = try await store.commit(.create("s")).token
    let before = try file.contents()
    var step = SessionCommit.step("s", token, .said("a", clientID: "c", execution: "e"), .queued("e"))
    step.turnKeys = [ExecutionID(rawValue: "e"): "k"]
    step.takes = ["c": ExecutionID(rawValue: "e")]
    step.replies = [Reply("resp", "s", "e")]
    step.harnessState = ["thread": "T"]

    broken.set(point)
    for _ in 0..<3 { #expect(await code { _ = try await store.commit(step) } == .storeUnavailable) }
    #expect(await code { _ = try await store.commit(.create("t")) } == .storeUnavailable)
    #expect(try file.contents() == before)
    #expect(try await store.events(SessionID(rawValue: "s"), after: 0, limit: 9).map(\.seq) == [1])

    broken.set(nil)
    #expect(try await store.commit(step).events.map(\.seq) == [2, 3])
    #expect(try await store.commit(.create("t")).events.map(\.seq) == [1])
    #expect(try await store.events(SessionID(rawValue: "s"), after: 0, limit: 9).map(\.seq) == [1, 2, 3])
  }

  @Test("all who waited for the failed transaction are told, and all may try again")
  func all() async throws {
    let token = try await store.commit(.create("s")).token
    func commits() async -> [CentaurError.Code?] {
      await withTaskGroup(of: CentaurError.Code?.self) { group in
        for number in 0..<50 {
          group.addTask { await code { _ = try await store.commit(.step("s", token, .note("\(number)"))) } }
        }
        return await group.reduce(into: []) { $0.append($1) }
      }
    }
    broken.set(.commit)
    #expect(await commits().allSatisfy { $0 == .storeUnavailable })
    broken.set(nil)
    #expect(await commits().allSatisfy { $0 == nil })
    #expect(try await store.events(SessionID(rawValue: "s"), after: 0, limit: 99).map(\.seq) == Array(1...51))
  }

  @Test("what is acknowledged is on the disk, from the store's first step on; a running turn's pieces need not be")
  func isSynced() async throws {
    let pragmas = Mutex<[String]>([])
    let file = try StoreFile()
    let store = try file.open(
      faults: StoreFaults(onStatement: { sql in
        if sql.contains("synchronous") { pragmas.withLock { $0.append(sql) } }
      }))
    let token = try await store.commit(.create("s")).token
    #expect(pragmas.withLock { $0.last } == "PRAGMA synchronous = FULL")
    _ = try await store.commit(.step("s", token, .queued("e"), .started("e")))
    let piece = EventPayload.itemDelta(ItemDelta(ordinal: 1, field: .text, text: "x"))
    _ = try await store.commit(.step("s", token, EventDraft(piece, execution: ExecutionID(rawValue: "e"))))
    #expect(pragmas.withLock { $0.last } == "PRAGMA synchronous = NORMAL")
    _ = try await store.commit(.step("s", token, .completed("e")))
    #expect(pragmas.withLock { $0.last } == "PRAGMA synchronous = FULL")
  }

  @Test("a server that is killed between two commits finds the first whole and nothing of the second")
  func reopened() async throws {
    let token = try await store.commit(.create("s")).token
    broken.set(.commit)
    #expect(
      await code { _ = try await store.commit(.step("s", token, .note("a"), .note("b"))) } == .storeUnavailable)
    let again = try file.open()
    #expect(try await again.events(SessionID(rawValue: "s"), after: 0, limit: 9).map(\.seq) == [1])
    #expect(try await again.commit(.step("s", token, .note("c"))).events.map(\.seq) == [2])
  }
}
