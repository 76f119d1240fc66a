import Ingress
import SessionModel

/// The fold for a client that has seen the stream's beginning: the same events, without those up to a number.
///
/// All of it is folded, for an event's number is known only by those before it.
struct ResumedTranslator: TurnTranslator {
  private var whole: ResponsesTranslator
  /// The number of the last event that the client has seen; −1 for none.
  private let last: Int

  init(_ whole: ResponsesTranslator, after last: Int) {
    self.whole = whole
    self.last = last
  }

  var isFinished: Bool { whole.isFinished }
  /// Never under an earlier number than the client's own, which may be one that is yet to come: a client that counts by
  /// what it sees would go back and see events twice.
  var keepAlive: ResponsesEvent { whole.keepAlive(under: max(last, whole.eventCount - 1)) }

  mutating func start() -> [ResponsesEvent] {
    let events = whole.start()
    return unseen(events)
  }

  mutating func fold(_ event: SessionEvent) -> [ResponsesEvent] {
    let events = whole.fold(event)
    return unseen(events)
  }

  private func unseen(_ events: [ResponsesEvent]) -> [ResponsesEvent] { events.filter { $0.sequence > last } }
}
