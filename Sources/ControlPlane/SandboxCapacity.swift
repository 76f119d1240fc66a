import SessionModel
import Synchronization

/// How many sandboxes this server may run at once, who waits for one, and which of them only wait for a next turn.
///
/// A drive takes a place before it starts a process and gives it back when the process is gone. When none is free it
/// waits in line, and the longest idle process is asked to end. How long the line may get is a limit: beyond it turns
/// are refused at the door (`check`), before anything of them is written.
///
/// Concurrency: one lock around the state, held for a few assignments, never across an await.
final class SandboxCapacity: Sendable {
  private struct State {
    var taken = 0
    /// Those who wait for a place, first come first served.
    var line: [(number: UInt64, continuation: CheckedContinuation<Bool, Never>)] = []
    var nextNumber: UInt64 = 0
    /// Idle drives, longest waiting first, each with the way to end its process.
    var idle: [(id: SessionID, stop: @Sendable () -> Void)] = []

    mutating func evictIfNeeded() -> (@Sendable () -> Void)? {
      line.isEmpty || idle.isEmpty ? nil : idle.removeFirst().stop
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

  /// Returns when a place is the caller's.
  /// - Throws: `CancellationError`
  func take() async throws {
    let number = state.withLock { state in
      state.nextNumber += 1
      return state.nextNumber
    }
    let isTaken = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let (answer, evict) = state.withLock { state -> (Bool?, (@Sendable () -> Void)?) in
          if Task.isCancelled { return (false, nil) }
          guard state.taken >= limit else {
            state.taken += 1
            return (true, nil)
          }
          state.line.append((number, continuation))
          return (nil, state.evictIfNeeded())
        }
        evict?()
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

  /// Whether one more turn may come to work or to wait.
  /// - Throws: `CentaurError` with `tooManyTurns`
  func check() throws(CentaurError) {
    let isFull = state.withLock { state in
      state.taken - state.idle.count + state.line.count >= turns
    }
    guard isFull else { return }
    throw CentaurError(
      .tooManyTurns, "This server is busy with \(turns) turns, its limit. Try again shortly.", retryAfter: .seconds(5))
  }

  func giveBack() {
    let next = state.withLock { state -> CheckedContinuation<Bool, Never>? in
      guard state.line.isEmpty else { return state.line.removeFirst().continuation }
      state.taken -= 1
      return nil
    }
    next?.resume(returning: true)
  }

  func isIdle(_ id: SessionID, stop: @escaping @Sendable () -> Void) {
    let evict = state.withLock { state in
      state.idle.append((id, stop))
      return state.evictIfNeeded()
    }
    evict?()
  }

  func isBusy(_ id: SessionID) { state.withLock { $0.idle.removeAll { $0.id == id } } }

  /// How many places are taken.
  var taken: Int { state.withLock { $0.taken } }
}
