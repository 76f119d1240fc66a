import SessionModel
import Synchronization

/// How many sandboxes this server may run at once, who waits for one, and which of them only wait for a next turn.
///
/// A drive takes a place before it starts a process and gives it back when the process is gone. When none is free it
/// waits in line, and one that nobody needs is asked to end: first one that waits for a session nobody has asked for yet
/// (nothing is lost with it), then the longest idle one. How many turns may be at work or in line is a limit:
/// beyond it turns are refused at the door (`promise`), before anything of them is written. A turn that was let in
/// counts from that moment on, so that requests that come at once cannot all slip through.
///
/// Concurrency: one lock around the state, held for a few assignments, never across an await.
final class SandboxCapacity: Sendable {
  private struct State {
    var taken = 0
    /// Turns that were let in and are not in line yet.
    var promised = 0
    /// Those who wait for a place, first come first served.
    var line: [(number: UInt64, continuation: CheckedContinuation<Bool, Never>)] = []
    var nextNumber: UInt64 = 0
    /// Idle drives, longest waiting first, each with the way to end its process.
    var idle: [(id: SessionID, stop: @Sendable () -> Void)] = []
    /// Whose turns have waited for their clients for a while, longest first: work is lost with them.
    var holding: [(id: SessionID, stop: @Sendable () -> Void)] = []
    /// The warm pool's, each with the way to end it.
    var pooled: [(id: SessionID, stop: @Sendable () -> Void)] = []
    /// How many were asked to end and have not given their places back.
    var leaving = 0
    /// Are told that a place is free and nobody waits for it.
    var whenFree: [@Sendable () -> Void] = []

    /// Those who are to end for the ones in line, as far as there are any.
    /// - Parameter limit: of places; more may have been found running
    mutating func evictions(limit: Int) -> [@Sendable () -> Void] {
      var stops: [@Sendable () -> Void] = []
      while !line.isEmpty, line.count + max(0, taken - limit) > leaving {
        // The newest has the least behind it: it may not even have come up.
        let unused = pooled.popLast()?.stop ?? (idle.isEmpty ? nil : idle.removeFirst().stop)
        guard let stop = unused ?? (holding.isEmpty ? nil : holding.removeFirst().stop) else { break }
        leaving += 1
        stops.append(stop)
      }
      return stops
    }
  }

  private let limit: Int
  private let turns: Int
  private let state = Mutex(State())

  /// - Parameters:
  ///   - limit: places.
  ///   - turns: how many turns may be at work or wait for a place.
  init(limit: Int, turns: Int) {
    self.limit = limit
    self.turns = turns
  }

  // MARK: At the door

  /// Lets one more turn come to work or to wait. The promise is kept by `take`, or given up by `withdraw`.
  /// - Throws: `CentaurError` with `tooManyTurns`
  func promise() throws(CentaurError) {
    let isFull = state.withLock { state in
      let atWork = state.taken - state.idle.count - state.holding.count - state.pooled.count
      if atWork + state.line.count + state.promised >= turns { return true }
      state.promised += 1
      return false
    }
    guard isFull else { return }
    throw CentaurError(
      .tooManyTurns, "This server is busy with \(turns) turns, its limit. Try again shortly.", retryAfter: .seconds(5))
  }

  /// A turn that was promised a place does not come.
  func withdraw() { state.withLock { $0.promised -= 1 } }

  // MARK: Places

  /// Returns when a place is the caller's.
  /// - Parameter promised: whether `promise` let the caller in.
  /// - Throws: `CancellationError`
  func take(promised: Bool = false) async throws {
    let number = state.withLock { state in
      state.nextNumber += 1
      return state.nextNumber
    }
    let isTaken = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let (answer, evicted) = state.withLock { state -> (Bool?, [@Sendable () -> Void]) in
          if promised { state.promised -= 1 }
          if Task.isCancelled { return (false, []) }
          guard state.taken >= limit else {
            state.taken += 1
            return (true, [])
          }
          state.line.append((number, continuation))
          return (nil, state.evictions(limit: limit))
        }
        for stop in evicted { stop() }
        if let answer { continuation.resume(returning: answer) }
      }
    } onCancel: {
      let waiting = state.withLock { state in
        state.line.firstIndex { $0.number == number }.map { state.line.remove(at: $0).continuation }
      }
      waiting?.resume(returning: false)
    }
    guard isTaken else { throw CancellationError() }
  }

  /// Takes a place for a sandbox that is there already, whether one is free or not.
  func adopt() { state.withLock { $0.taken += 1 } }

  func giveBack() {
    let (next, told) = state.withLock { state -> (CheckedContinuation<Bool, Never>?, [@Sendable () -> Void]) in
      state.leaving = max(0, state.leaving - 1)
      // More may have been found running than there are places.
      guard state.line.isEmpty || state.taken > limit else { return (state.line.removeFirst().continuation, []) }
      state.taken -= 1
      return (nil, state.line.isEmpty ? state.whenFree : state.evictions(limit: limit))
    }
    next?.resume(returning: true)
    for callback in told { callback() }
  }

  /// Whether somebody who is at the door, in line or promised a place must wait for one.
  var isFull: Bool { state.withLock { $0.taken + $0.line.count + $0.promised > limit } }

  // MARK: The warm pool's

  /// Calls back whenever a place is free that nobody waits for.
  func whenFree(_ callback: @escaping @Sendable () -> Void) {
    state.withLock { $0.whenFree.append(callback) }
  }

  /// Takes a place for a sandbox that is to wait for a session, where one is free: it never waits, and asks nobody to end.
  /// - Parameter stop: is called when a turn needs the place
  func takeForPool(_ id: SessionID, stop: @escaping @Sendable () -> Void) -> Bool {
    state.withLock { state in
      guard state.line.isEmpty, state.taken + state.promised < limit else { return false }
      state.taken += 1
      state.pooled.append((id, stop))
      return true
    }
  }

  /// A sandbox waits no more: a session has it, or it ends. Its place stays taken.
  func leavesPool(_ id: SessionID) { state.withLock { $0.pooled.removeAll { $0.id == id } } }

  // MARK: Idle processes

  func isIdle(_ id: SessionID, stop: @escaping @Sendable () -> Void) {
    let evicted = state.withLock { state in
      state.idle.removeAll { $0.id == id }
      state.idle.append((id, stop))
      return state.evictions(limit: limit)
    }
    for stop in evicted { stop() }
  }

  /// A turn waits for its client: it gives way where nothing else can.
  func isHolding(_ id: SessionID, stop: @escaping @Sendable () -> Void) {
    let evicted = state.withLock { state in
      state.holding.removeAll { $0.id == id }
      state.holding.append((id, stop))
      return state.evictions(limit: limit)
    }
    for stop in evicted { stop() }
  }

  func isBusy(_ id: SessionID) {
    state.withLock { state in
      state.idle.removeAll { $0.id == id }
      state.holding.removeAll { $0.id == id }
    }
  }

  /// One that was asked to end is at work again: the wish goes on to the next.
  func staysBusy() {
    let evicted = state.withLock { state in
      state.leaving = max(0, state.leaving - 1)
      return state.evictions(limit: limit)
    }
    for stop in evicted { stop() }
  }

  // MARK: Looking

  /// How many places are taken.
  var taken: Int { state.withLock { $0.taken } }

  /// How many wait for a place.
  var waiting: Int { state.withLock { $0.line.count } }
}
