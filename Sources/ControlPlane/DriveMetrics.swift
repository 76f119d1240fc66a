import Metrics
import SessionModel
import Synchronization

/// How many readers all sessions' feeds have.
final class SubscriberCount: Sendable {
  private let count = Mutex(0)
  private let gauge = Gauge(label: "centaur_event_subscribers")

  func add(_ change: Int) {
    count.withLock {
      $0 += change
      gauge.record($0)
    }
  }
}

/// What the drives count, for `/metrics`.
struct DriveMetrics: Sendable {
  let turnsStarted = Counter(label: "centaur_turns_started_total")
  let turnsReplayed = Counter(label: "centaur_turns_replayed_total")
  let turnsSteered = Counter(label: "centaur_turns_steered_total")
  let subscribers = SubscriberCount()
  let events = Counter(label: "centaur_events_total")
  /// Sandboxes of the warm pool that may be claimed.
  let sandboxesWaiting = Gauge(label: "centaur_sandboxes_waiting")
  /// Drives that could not write, or lost their session to another server.
  let sessionsGivenUp = Counter(label: "centaur_sessions_given_up_total")
  let sandboxStart = Metrics.Timer(label: "centaur_sandbox_start_seconds")

  /// A sandbox that takes turns, by how it came to be: `warm`, `cold` or `resumed`.
  func sandboxReady(_ origin: SandboxReady.Origin) {
    Counter(label: "centaur_sandboxes_ready_total", dimensions: [("origin", origin.rawValue)]).increment()
  }

  /// A sandbox of an earlier server, by whether it was found alive.
  func sandboxTakenOver(isAlive: Bool) {
    Counter(label: "centaur_sandboxes_taken_over_total", dimensions: [("found", isAlive ? "alive" : "dead")])
      .increment()
  }

  /// A turn's end, by how it ended: `completed`, `failed` or `cancelled`. Other events are no end.
  func turnEnded(_ payload: EventPayload) {
    let status: String
    switch payload {
    case .executionCompleted: status = "completed"
    case .executionFailed: status = "failed"
    case .executionCancelled: status = "cancelled"
    default: return
    }
    Counter(label: "centaur_turns_ended_total", dimensions: [("status", status)]).increment()
  }
}
