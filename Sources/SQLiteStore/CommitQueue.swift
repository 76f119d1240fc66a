import Dispatch
import GRDB
import SessionModel

/// Gathers the commits of many sessions into few transactions.
///
/// A commit that comes while a transaction runs waits for the next one with all others that came meanwhile. No timer:
/// alone, a commit starts at once; under load, the length of a transaction sets the size of the next.
///
/// Concurrency: the actor has a thread of its own and writes on it. A commit goes there and back and to no other
/// thread on the way; what waits in line for the actor while it writes is the next batch.
actor CommitQueue {
  private struct Waiting {
    var commit: SessionCommit
    var continuation: CheckedContinuation<CommitResult, any Error>
  }

  /// More in one transaction would let readers wait for nothing.
  private static let maximumBatch = 256

  private let writer = WriterExecutor()
  private let pool: DatabasePool
  private let faults: StoreFaults
  private var waiting: [Waiting] = []
  private var isWriteDue = false
  private let durability: SQLiteStore.Durability
  /// What the writer's connection is set to; nil: nobody has said it. GRDB leaves it at NORMAL when it makes a pool,
  /// whatever the connection was told before.
  private var current: SQLiteStore.Durability?

  nonisolated var unownedExecutor: UnownedSerialExecutor { writer.asUnownedSerialExecutor() }

  init(pool: DatabasePool, durability: SQLiteStore.Durability, faults: StoreFaults) {
    self.pool = pool
    self.durability = durability
    self.faults = faults
  }

  func commit(_ commit: SessionCommit) async throws -> CommitResult {
    try await withCheckedThrowingContinuation { continuation in
      waiting.append(Waiting(commit: commit, continuation: continuation))
      writeSoon()
    }
  }

  /// Writes behind the commits that stand in line for the actor already.
  private func writeSoon() {
    guard !isWriteDue, !waiting.isEmpty else { return }
    isWriteDue = true
    // Owned by the queue: it ends when it has written.
    Task { write() }
  }

  private func write() {
    let batch = Array(waiting.prefix(Self.maximumBatch))
    waiting.removeFirst(batch.count)
    reach("commit.before", batch)
    do {
      var results: [Result<CommitResult, any Error>] = []
      try pool.writeWithoutTransaction { db in
        try set(batch.allSatisfy(\.commit.isOutputOnly) ? .normal : durability, db)
        try db.inTransaction {
          try faults.check(.begin)
          results = try batch.map { waiting in try CommitQueue.apply(waiting.commit, db) }
          try faults.check(.commit)
          reach("commit.written", batch)
          return .commit
        }
      }
      reach("commit.after", batch)
      for (waiting, result) in zip(batch, results) { waiting.continuation.resume(with: result) }
    } catch {
      let failure = CentaurError.storeRefused("The store cannot be written.")
      for waiting in batch { waiting.continuation.resume(throwing: failure) }
    }
    isWriteDue = false
    writeSoon()
  }

  /// A kill point of a transaction as such (`commit.before`), and of each kind of event that it holds
  /// (`commit.before:execution.queued`).
  private func reach(_ point: String, _ batch: [Waiting]) {
    guard KillPoint.isWatched else { return }
    KillPoint.reach(point)
    for kind in Set(batch.flatMap { $0.commit.events.map(\.payload.kind) }).sorted() {
      KillPoint.reach("\(point):\(kind)")
    }
  }

  private func set(_ wanted: SQLiteStore.Durability, _ db: Database) throws {
    guard wanted != current else { return }
    try db.execute(sql: "PRAGMA synchronous = \(wanted.pragma)")
    current = wanted
  }

  /// One session's step in a savepoint; its own errors undo it alone.
  private static func apply(
    _ commit: SessionCommit, _ db: Database
  ) throws -> Result<CommitResult, any Error> {
    var result: Result<CommitResult, any Error> = .failure(CentaurError(.internalFailure, "Nothing was written."))
    try db.inSavepoint {
      do {
        result = .success(try CommitWriter(db: db, commit: commit).write())
        return .commit
      } catch let error as CentaurError {
        result = .failure(error)
      } catch let conflict as StoreConflict {
        result = .failure(conflict)
      } catch let error as DatabaseError where isOfStep(error) {
        result = .failure(CentaurError(.internalFailure, "The step breaks a rule of the store."))
      }
      return .rollback
    }
    return result
  }

  /// Whether the database refuses what the step says, such as a second active turn, and not its work as a whole.
  private static func isOfStep(_ error: DatabaseError) -> Bool {
    error.resultCode == .SQLITE_CONSTRAINT || error.resultCode == .SQLITE_TOOBIG
  }
}

extension SessionCommit {
  /// It holds pieces of a running turn and nothing else. What has said them is gone with the power, and the turn with
  /// it: they need not be on the disk before the turn's next step of another kind, which puts them there too.
  fileprivate var isOutputOnly: Bool {
    guard creation == nil, takes.isEmpty, retakes.isEmpty, releases.isEmpty, replies.isEmpty, forgets.isEmpty,
      historyDigest == nil,
      harnessState == nil,
      !events.isEmpty, harnessJournal.allSatisfy({ if case .restart = $0 { true } else { false } })
    else { return false }
    return events.allSatisfy { event in
      switch event.payload {
      case .itemStarted, .itemDelta, .itemCompleted, .usageUpdated: true
      default: false
      }
    }
  }
}

/// Runs the queue's work on one thread at a time that may block: a transaction waits for the disk.
private final class WriterExecutor: SerialExecutor {
  private let queue = DispatchQueue(label: "centaur.store")

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    queue.async { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
  }
}

/// Makes chosen transactions fail, and sees what is run: faults and costs are what the store's tests are made of.
struct StoreFaults: Sendable {
  enum Point: Sendable, Hashable {
    case begin
    case commit
  }

  /// Throws where the transaction is to fail.
  var check: @Sendable (Point) throws -> Void = { _ in }
  /// Sees the SQL of each statement that is run, without its arguments.
  var onStatement: (@Sendable (_ sql: String) -> Void)?
}
