import SessionModel

/// How a turn has waited for its client's tools so far, as a fold over its events: what waits now, what was answered with
/// what, and how long the turn was at work between its waits.
struct TurnWaits: Sendable {
  /// A call that was answered.
  struct Answered: Sendable {
    /// What the agent was told: what the user said beside the outputs is part of the last one.
    var output: ToolOutput
    /// What its client's tool said, without that.
    var said: ToolOutput
    /// The `execution.waiting` that the answer ended: the reply behind it shows what came then.
    var afterSeq: Int64
  }

  private(set) var asked: Set<ClientCallID> = []
  private(set) var answered: [ClientCallID: Answered] = [:]
  /// What waits, in the order in which it was asked; empty while the turn is at work.
  private(set) var calls: [ClientCall] = []
  /// The newest `execution.waiting`, and when it was written.
  private(set) var waiting: (seq: Int64, since: Timestamp)?
  /// The newest `execution.waiting` that was answered, at least in part: what the turn says since then nobody has been
  /// shown whose answer ended there; 0 where none was.
  private(set) var answeredSeq: Int64 = 0
  /// Messages that are yet to come in the log and belong to the newest outputs.
  private var beside = 0
  private var newest: ClientCallID?
  /// What the turn had cost at that wait, as far as it was known.
  private(set) var usage = TurnUsage()
  /// At work before the newest wait, in milliseconds.
  private var worked: Int64 = 0
  private var workingSince: Timestamp?

  mutating func fold(_ event: SessionEvent) {
    switch event.payload {
    case .executionStarted: workingSince = event.createdAt
    case .executionWaiting(let calls, let usage):
      self.usage = usage
      if let since = workingSince { worked += event.createdAt.milliseconds - since.milliseconds }
      workingSince = nil
      self.calls = calls
      asked.formUnion(calls.map(\.id))
      waiting = (event.seq, event.createdAt)
    case .executionResumed(let outputs, let messages):
      answeredSeq = waiting?.seq ?? 0
      for var output in outputs {
        // Instructions are its request's, and no part of what the tool said.
        output.instructions = nil
        answered[output.call] = Answered(output: output, said: output, afterSeq: answeredSeq)
      }
      (beside, newest) = (messages, outputs.last?.call)
      calls = []
      workingSince = event.createdAt
    case .messageAppended(let message) where beside > 0:
      beside -= 1
      if let newest { answered[newest]?.output.parts += message.parts }
    default: break
    }
  }

  /// Whether an output says something else than the one that answered its call.
  func isContradicted(by output: ToolOutput) -> Bool {
    guard let answered = answered[output.call] else { return false }
    return answered.said != output && answered.output != output
  }

  /// Outputs in the order in which they were given: what was said beside them belongs to the newest.
  func oldestFirst(_ outputs: [ToolOutput]) -> [ToolOutput] {
    outputs.enumerated().map { (order: (answered[$0.element.call]?.afterSeq ?? .max, $0.offset), output: $0.element) }
      .sorted { $0.order < $1.order }.map(\.output)
  }

  /// How long the turn was at work, waits not counted.
  func worked(until now: Timestamp) -> Duration {
    .milliseconds(worked + (workingSince.map { max(0, now.milliseconds - $0.milliseconds) } ?? 0))
  }
}
