import SessionModel
import Synchronization

/// How many sandboxes this server may run at once, and which of them only wait.
///
/// A drive takes a place before it starts a process and gives it back when the process is gone. When none is free the
/// longest-waiting idle process is asked to end; if there is none either, the turn is refused for now.
final class SandboxCapacity: Sendable {
  private struct State {
    var taken = 0
    /// Idle drives, longest waiting first, each with the way to end its process.
    var idle: [(id: SessionID, stop: @Sendable () -> Void)] = []
  }

  private let limit: Int
  private let state = Mutex(State())

  init(limit: Int) { self.limit = limit }

  /// - Throws: `CentaurError` with `tooManyTurns`
  func take() throws(CentaurError) {
    let (isFull, evict) = state.withLock { state -> (Bool, (@Sendable () -> Void)?) in
      guard state.taken >= limit else {
        state.taken += 1
        return (false, nil)
      }
      guard !state.idle.isEmpty else { return (true, nil) }
      // The place goes over to the taker: the one that is asked to end gives back one that it no longer counts.
      state.taken += 1
      return (false, state.idle.removeFirst().stop)
    }
    evict?()
    if isFull { throw full }
  }

  /// Whether `take` would succeed now.
  /// - Throws: `CentaurError` with `tooManyTurns`
  func check() throws(CentaurError) {
    if state.withLock({ $0.taken >= limit && $0.idle.isEmpty }) { throw full }
  }

  private var full: CentaurError {
    CentaurError(
      .tooManyTurns, "All \(limit) sandboxes of this server are at work. Try again shortly.", retryAfter: .seconds(5))
  }

  func giveBack() { state.withLock { $0.taken -= 1 } }

  func isIdle(_ id: SessionID, stop: @escaping @Sendable () -> Void) {
    state.withLock { $0.idle.append((id, stop)) }
  }

  func isBusy(_ id: SessionID) { state.withLock { $0.idle.removeAll { $0.id == id } } }

  /// How many places are taken.
  var taken: Int { state.withLock { $0.taken } }
}
