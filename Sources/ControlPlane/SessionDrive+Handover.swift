import Harness
import SessionModel

/// A program hands a conversation from one of its agents to another: it answers the call that asks for this with a request
/// that offers other functions. A turn has the functions that it began with, so what was said goes to a turn of its own,
/// and the one that waited ends: both in one commit, or a server that dies between the two would leave the request that is
/// sent again a call that nobody asks any more.
extension SessionDrive {
  /// The request as one for a turn of its own; nil where it is none of that kind.
  func handedOver(_ request: TurnRequest) -> TurnRequest? {
    guard let running, running.isWaiting, !running.isInterrupted, let first = request.outputs.first,
      first.call.execution == running.execution.id
    else { return nil }
    let names = Dictionary(running.waits.calls.map { ($0.id, $0.name) }) { first, _ in first }
    guard request.outputs.allSatisfy({ names[$0.call] != nil }) else { return nil }
    let offered = Set(running.execution.options.tools.map(\.name))
    guard request.options.tools.contains(where: { !offered.contains($0.name) }) else { return nil }
    var handed = request
    let said = request.outputs.flatMap { output in
      [.text("[The function \(names[output.call] ?? "") was called, and said:]")] + output.parts
    }
    let message = Message(parts: said + request.input.flatMap(\.parts), clientID: Self.handover(request))
    (handed.input, handed.outputs) = ([message], [])
    (handed.head, handed.busy, handed.takesOver) = (nil, .queue, true)
    return handed
  }

  /// The turn to which what a request says went before.
  func turnThatTookOver(_ request: TurnRequest) async throws -> ExecutionID? {
    guard let session else { return nil }
    let name = Self.handover(request)
    return try await services.store.takers(session.id, clientIDs: [name])[name]?.execution
  }

  /// The name by which such a request is known again: other outputs, or other words beside them, are something new.
  private static func handover(_ request: TurnRequest) -> String {
    let call = request.outputs.first.map(\.call.description) ?? ""
    var words = HistoryDigest(of: request.owner)
    words.add(request.outputs.map { Message(parts: $0.parts) } + request.input + [Message(role: .assistant, parts: [])])
    return "handover:\(call):\(words.value)"
  }

  /// The end of the turn that runs, for a commit that says more than that.
  struct Interruption {
    var before: any HarnessMachine
    var actions: [HarnessAction]
    var drafts: [EventDraft]
    var state: JSONValue?
    var journal: HarnessJournalChange?
  }

  /// Tells the machine of the turn that runs to end it. What it wants is for the caller to write, and to carry out then.
  func interruption(reason: String) throws -> Interruption? {
    guard let running, let before = process?.machine else { return nil }
    self.running?.isInterrupted = true
    let input = HarnessInput.interrupt(reason: reason, failure: running.failure)
    let offset = process?.splitter.unread ?? 0
    let actions = process?.give { $0.interrupt(reason: reason) } ?? []
    let (drafts, state) = logged(actions[...])
    let journal = try journalChange(actions[...], actions.isEmpty ? nil : .input(input, offset: offset))
    return Interruption(before: before, actions: actions, drafts: drafts, state: state, journal: journal)
  }

  func carryOut(_ ended: Interruption) async {
    noteStop(ended.actions)
    noteWritten(ended.drafts, ended.journal)
    for action in ended.actions { await carryOut(action) }
  }

  /// It was not written: the turn goes on.
  func takeBack(_ ended: Interruption) {
    process?.machine = ended.before
    running?.isInterrupted = false
  }
}
