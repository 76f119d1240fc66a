import SessionModel
import Synchronization

/// How many turns of one key may be open at once on this server: those that run, and those that wait.
///
/// It is told when a turn begins and never when one ends: only where the limit is reached does it ask the store which of
/// its turns are over. So it costs the others nothing, and nobody has to remember to tell it.
///
/// Concurrency: one lock around the turns, held for a few assignments, never across an await.
public final class TurnAllowance: Sendable {
  private struct State {
    var open: Set<ExecutionID> = []
    /// Turns that were let in and have no id yet.
    var promised = 0
  }

  private let limit: Int
  private let state = Mutex(State())

  public init(limit: Int) { self.limit = limit }

  /// Lets one more turn begin. The promise is kept by `keep`, or given up by `withdraw`.
  /// - Parameter replaced: turns that end because this one begins
  /// - Throws: `CentaurError` with `keyTurnLimit`
  func promise(replacing replaced: Set<ExecutionID>, _ store: any SessionStore) async throws {
    if promised(replacing: replaced) { return }
    for id in state.withLock({ $0.open.subtracting(replaced) }) {
      // One that the store does not know never began.
      let isOver = try await store.execution(id)?.status.isTerminal ?? true
      if isOver { state.withLock { _ = $0.open.remove(id) } }
    }
    guard promised(replacing: replaced) else {
      throw CentaurError(
        .keyTurnLimit, "This key has \(limit) turns at work or waiting, its limit. Try again when one is over.",
        retryAfter: .seconds(5))
    }
  }

  private func promised(replacing replaced: Set<ExecutionID>) -> Bool {
    state.withLock { state in
      let others = replaced.isEmpty ? state.open.count : state.open.count { !replaced.contains($0) }
      guard others + state.promised < limit else { return false }
      state.promised += 1
      return true
    }
  }

  /// The turn that was promised has begun.
  func keep(_ id: ExecutionID) {
    state.withLock { state in
      state.promised -= 1
      state.open.insert(id)
    }
  }

  /// The turn that was promised does not come.
  func withdraw() { state.withLock { $0.promised -= 1 } }
}

extension SessionDrive {
  /// Lets `body` begin a turn, where the key of its request may have one more.
  /// - Parameter endsOthers: the session's turns that run or wait end because this one begins
  /// - Throws: `CentaurError` with `keyTurnLimit`; then nothing was changed
  func allowed(
    _ request: TurnRequest, endsOthers: Bool, _ body: () async throws -> AdmittedTurn
  ) async throws -> AdmittedTurn {
    guard let allowance = request.allowance else { return try await body() }
    let others = queue.map(\.execution.id) + [running?.execution.id].compactMap(\.self)
    try await allowance.promise(replacing: endsOthers ? Set(others) : [], services.store)
    do {
      let admitted = try await body()
      allowance.keep(admitted.execution.id)
      return admitted
    } catch {
      allowance.withdraw()
      throw error
    }
  }
}
