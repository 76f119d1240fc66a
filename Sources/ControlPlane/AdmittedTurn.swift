public import SessionModel

/// A request that the control plane took: which turn answers it, and where that turn's events are read.
public struct AdmittedTurn: Sendable {
  public let session: Session
  public let execution: Execution
  /// The answer's id on the wire, and when it was first given.
  public let reply: Reply
  /// Whether the turn was there before the request: the answer is a replay, live where the turn still runs.
  public let isReplay: Bool
  /// The session's events from the turn's first one; other turns' may be among them.
  public let events: EventSubscription
  /// It stands in line for a sandbox, and may get none.
  public internal(set) var waitsForPlace = false
  /// Its client holds a part of the answer and asks for the rest (`TurnRequest.heldAnswer`).
  public internal(set) var isToldOn = false
  /// Which try of its request it answers, where that may be sent again. It lasts as long as somebody answers it.
  public internal(set) var requestTry: RequestTry?

  public init(session: Session, execution: Execution, reply: Reply, isReplay: Bool, events: EventSubscription) {
    self.session = session
    self.execution = execution
    self.reply = reply
    self.isReplay = isReplay
    self.events = events
  }
}

extension Reply {
  /// The first event that its fold reads: the wait behind which it begins, or the turn's first.
  func firstSeq(of execution: Execution) -> Int64 { max(execution.firstSeq, afterSeq) }
}
