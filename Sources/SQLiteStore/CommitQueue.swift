import GRDB
import SessionModel

/// Gathers the commits of many sessions into few transactions.
///
/// A commit that comes while a transaction runs waits for the next one with all others that came meanwhile. No timer:
/// alone, a commit starts at once; under load, the length of a transaction sets the size of the next.
actor CommitQueue {
  private struct Waiting {
    var commit: SessionCommit
    var continuation: CheckedContinuation<CommitResult, any Error>
  }

  /// More in one transaction would let readers wait for nothing.
  private static let maximumBatch = 256

  private let pool: DatabasePool
  private let faults: StoreFaults
  private var waiting: [Waiting] = []
  private var isWriting = false

  init(pool: DatabasePool, faults: StoreFaults) {
    self.pool = pool
    self.faults = faults
  }

  func commit(_ commit: SessionCommit) async throws -> CommitResult {
    try await withCheckedThrowingContinuation { continuation in
      waiting.append(Waiting(commit: commit, continuation: continuation))
      guard !isWriting else { return }
      isWriting = true
      // Owned by the queue: it ends when nobody waits.
      Task { await self.drain() }
    }
  }

  private func drain() async {
    while !waiting.isEmpty {
      let batch = Array(waiting.prefix(Self.maximumBatch))
      waiting.removeFirst(batch.count)
      let commits = batch.map(\.commit)
      let faults = faults
      do {
        let results = try await pool.write { db in
          try faults.check(.begin)
          let results = try commits.map { commit in try CommitQueue.apply(commit, db) }
          try faults.check(.commit)
          return results
        }
        for (waiting, result) in zip(batch, results) { waiting.continuation.resume(with: result) }
      } catch {
        let failure = CentaurError(.storeUnavailable, "The store cannot be written.")
        for waiting in batch { waiting.continuation.resume(throwing: failure) }
      }
    }
    isWriting = false
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
