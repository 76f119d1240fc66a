import SessionModel

/// What was said in a session, as a fold over its log: what a harness that has not begun the conversation is told,
/// and what a fork copies.
struct Conversation: Sendable {
  private struct Entry: Sendable {
    var message: Message
    var seq: Int64
    /// The turn that is to hear it, where that had not begun.
    var waitsFor: ExecutionID?
    /// The turn that took it.
    var execution: ExecutionID?
  }

  private var entries: [Entry] = []
  private var pending = PendingMessages()
  private var line = TurnsInLine()
  /// The client's instructions that were told last.
  private(set) var instructions: String?
  /// Of turns that have not begun.
  private var untoldInstructions: [ExecutionID: String] = [:]
  /// Turns that have begun, or ended without that.
  private var started: Set<ExecutionID> = []
  /// The client's tools that were called.
  private var calls: [ClientCallID: String] = [:]

  var messages: [Message] { entries.map(\.message) }

  /// Without the messages that wait for a turn, or for their turn's beginning: they will be its input. So will be what
  /// turns have left that ended before they began.
  var messagesOfTurns: [Message] {
    let waiting = Set(pending.seqs(ofTurns: { !started.contains($0) }) + line.left.map(\.seq))
    return entries.filter { entry in
      !waiting.contains(entry.seq) && entry.waitsFor.map(started.contains) ?? true
    }.map(\.message)
  }

  /// Without what turns behind this one were asked while it was still at work.
  func messages(through turn: Execution) -> [Message] {
    entries.filter { $0.waitsFor == nil || $0.waitsFor == turn.id || $0.seq < turn.firstSeq }.map(\.message)
  }

  mutating func fold(_ event: SessionEvent) {
    pending.fold(event)
    line.fold(event)
    foldInstructions(event)
    switch event.payload {
    case .messageAppended(let message):
      let id = event.executionID
      // What a turn hears that has begun is said to it at once.
      let waitsFor = id.flatMap { started.contains($0) ? nil : $0 }
      entries.append(Entry(message: message, seq: event.seq, waitsFor: waitsFor, execution: id))
    case .executionFailed where PendingMessages.wasNotRun(event):
      // It is as if it had not been asked; whoever meant it says it again.
      entries.removeAll { $0.execution == event.executionID }
    case .executionStarted, .executionCompleted, .executionCancelled, .executionFailed:
      if let id = event.executionID { started.insert(id) }
    case .executionWaiting(let asked, _):
      // Those that still wait beside an answer are named again.
      for call in asked where calls.updateValue(call.name, forKey: call.id) == nil {
        entries.append(Entry(message: call.told, seq: event.seq))
      }
    case .executionResumed(let outputs, _):
      for output in outputs.sorted(by: { $0.call.ordinal < $1.call.ordinal }) {
        entries.append(Entry(message: output.told(of: calls[output.call]), seq: event.seq))
      }
    case .itemCompleted(let item):
      guard case .message(let message) = item.content, !message.text.isEmpty else { return }
      entries.append(Entry(message: Message(role: .assistant, parts: [.text(message.text)]), seq: event.seq))
    default: break
    }
  }

  private mutating func foldInstructions(_ event: SessionEvent) {
    switch event.payload {
    case .sessionCreated(let created): instructions = created.instructions
    case .executionQueued(let options): if let id = event.executionID { untoldInstructions[id] = options.instructions }
    case .executionStarted(_, let noted):
      guard let id = event.executionID else { return }
      instructions = EventPayload.told(noted, untoldInstructions.removeValue(forKey: id)) ?? instructions
    case .executionResumed(let outputs, _): instructions = outputs.compactMap(\.instructions).last ?? instructions
    default: break
    }
  }

  /// The conversation of a session up to and including `upTo`.
  static func read(
    _ session: SessionID, from store: any SessionStore, upTo: Int64 = .max
  ) async throws -> Conversation {
    var conversation = Conversation()
    var cursor: Int64 = 0
    while true {
      let page = try await store.eventsWithoutPieces(session, after: cursor, limit: 1000)
      for event in page where event.seq <= upTo { conversation.fold(event) }
      guard let last = page.last, last.seq < upTo else { return conversation }
      cursor = last.seq
    }
  }
}
