import Synchronization

/// The port of a server that has just been started, for those who must wait until it is known.
final class ListeningPort: Sendable {
  private struct State {
    var port: Int?
    var waiters: [CheckedContinuation<Int, Never>] = []
  }

  private let state = Mutex(State())

  func set(_ port: Int) {
    let waiters = state.withLock { state in
      state.port = port
      defer { state.waiters = [] }
      return state.waiters
    }
    for waiter in waiters { waiter.resume(returning: port) }
  }

  var value: Int {
    get async {
      await withCheckedContinuation { continuation in
        let known = state.withLock { state in
          if state.port == nil { state.waiters.append(continuation) }
          return state.port
        }
        if let known { continuation.resume(returning: known) }
      }
    }
  }
}
