import Dispatch
import SessionModel
import Synchronization
import Testing

@testable import SQLiteStore

/// One transaction serves many sessions; what one of them does wrong must not be felt by another.
struct GroupCommitTests {
  private let file: StoreFile
  private let gate = TransactionGate()
  private let store: SQLiteStore

  init() throws {
    file = try StoreFile()
    let gate = gate
    store = try file.open(faults: StoreFaults(check: { gate.pass($0) }))
  }

  /// Commits all while another transaction runs, so that they wait for the next one together.
  private func commitTogether(_ commits: [SessionCommit]) async throws -> [Result<CommitResult, any Error>] {
    let plug = try SessionCommit.create("plug \(commits.count)")
    gate.close()
    async let plugged = store.commit(plug)
    await gate.someoneWaits()
    // Each runs on this thread until it waits for its transaction.
    let tasks = commits.map { commit in Task.immediate { try await store.commit(commit) } }
    gate.open()
    _ = try await plugged
    var results: [Result<CommitResult, any Error>] = []
    for task in tasks { results.append(await task.result) }
    return results
  }

  @Test("commits that come while a transaction runs share the next one: many commits, few transactions")
  func few() async throws {
    let creations = try (0..<200).map { try SessionCommit.create("s\($0)") }
    let results = try await commitTogether(creations)
    #expect(results.allSatisfy { (try? $0.get().events.map(\.seq)) == [1] })
    #expect(gate.transactions < 20, "\(gate.transactions) transactions for 200 commits")
  }

  @Test("more commits than one transaction takes are all written")
  func manyBatches() async throws {
    let token = try await store.commit(.create("s")).token
    let results = try await commitTogether((0..<600).map { .step("s", token, .note("\($0)")) })
    let seqs = try results.flatMap { try $0.get().events.map(\.seq) }
    #expect(seqs.sorted() == Array(2...601))
    #expect(gate.transactions < 60)
  }

  @Test("a commit that fails fails alone: those beside it in the same transaction are written")
  func alone() async throws {
    let plans: [Plan] = (0..<8).flatMap { round in Plan.Kind.allCases.map { Plan(name: "\($0) \(round)", kind: $0) } }
    var tokens: [String: FencingToken] = [:]
    for plan in plans {
      tokens[plan.name] = try await store.commit(.create(plan.name)).token
      _ = try await store.commit(try plan.beginning(tokens[plan.name]))
    }
    let transactions = gate.transactions
    let results = try await commitTogether(plans.map { try $0.step(tokens[$0.name]) })
    #expect(gate.transactions - transactions < plans.count / 4)
    for (plan, result) in zip(plans, results) {
      let session = try #require(try await store.session(SessionID(rawValue: plan.name)))
      let log = try await store.events(session.id, after: 0, limit: 100)
      #expect(log.map(\.seq) == Array(1...session.lastSeq))
      switch (plan.failure, result) {
      case (nil, .success(let committed)):
        #expect(committed.events.map(\.seq) == [5, 6])
        #expect(log.suffix(2) == committed.events[...])
      case (let failure?, .failure(let error)):
        #expect("\(error)".hasPrefix(failure), "\(plan.name)")
        #expect(session.lastSeq == 4, "\(plan.name)")
      default: Issue.record("\(plan.name): \(result)")
      }
    }
  }
}

/// A session with a running turn, and a step that it then tries.
private struct Plan: Sendable {
  enum Kind: String, CaseIterable {
    case fine
    case sameKey
    case sameTurnKey
    case sameMessage
    case sameWireID
    case staleToken
    case noToken
    case secondActiveTurn
    case endOfAnUnknownTurn
  }

  var name: String
  var kind: Kind

  /// Turn `e` runs.
  func beginning(_ token: FencingToken?) throws -> SessionCommit {
    var step = SessionCommit.step(
      name, token, .said("a", clientID: "c"), .queued("e \(name)"), .started("e \(name)"))
    step.turnKeys = [ExecutionID(rawValue: "e \(name)"): "k"]
    step.takes = ["c": nil]
    step.replies = [Reply("resp \(name)", name, "e \(name)")]
    return step
  }

  func step(_ token: FencingToken?) throws -> SessionCommit {
    var step = SessionCommit.step(name, token, .note("x"), .queued("f \(name)"))
    switch kind {
    case .fine: break
    case .sameKey: step = try .create("\(name) again", key: "api:\(name)")
    case .sameTurnKey: step.turnKeys = [ExecutionID(rawValue: "f \(name)"): "k"]
    case .sameMessage: step.takes = ["c": nil]
    case .sameWireID: step.replies = [Reply("resp \(name)", name, "f \(name)")]
    case .staleToken: step.token = FencingToken(epoch: 0)
    case .noToken: step.token = nil
    case .secondActiveTurn: step.events.append(.started("f \(name)"))
    case .endOfAnUnknownTurn: step.events.append(.completed("nobody's"))
    }
    return step
  }

  /// How the step's error begins; nil where it is to be written.
  var failure: String? {
    switch kind {
    case .fine: nil
    case .sameKey: "threadKey"
    case .sameTurnKey: #"turnKey("k")"#
    case .sameMessage: #"clientID("c")"#
    case .sameWireID: #"wireID("resp \#(name)")"#
    case .staleToken, .noToken: "lease_lost"
    case .secondActiveTurn, .endOfAnUnknownTurn: "internal_error"
    }
  }
}

/// Counts the store's transactions, and holds one back for as long as it is closed.
///
/// The store passes on the database's own thread, which may wait.
private final class TransactionGate: Sendable {
  private struct State {
    var transactions = 0
    var isClosed = false
  }

  private let state = Mutex(State())
  private let opening = DispatchSemaphore(value: 0)
  private let waiting = AsyncStream.makeStream(of: Void.self)

  var transactions: Int { state.withLock { $0.transactions } }

  func close() { state.withLock { $0.isClosed = true } }

  func open() {
    state.withLock { $0.isClosed = false }
    opening.signal()
  }

  func someoneWaits() async {
    for await _ in waiting.stream { return }
  }

  func pass(_ point: StoreFaults.Point) {
    guard point == .begin else { return }
    let isClosed = state.withLock { state in
      state.transactions += 1
      return state.isClosed
    }
    guard isClosed else { return }
    waiting.continuation.yield()
    opening.wait()
  }
}
