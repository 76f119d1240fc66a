import SessionModel

/// What was said in a session, as a fold over its log: what a harness that has not begun the conversation is told,
/// and what a fork copies.
struct Conversation: Sendable {
  private struct Entry: Sendable {
    var message: Message
    var seq: Int64
    /// The turn that took it.
    var execution: ExecutionID?
  }

  private var entries: [Entry] = []
  private var pending = PendingMessages()
  /// The client's instructions that were told last.
  private(set) var instructions: String?
  /// Of turns that have not begun.
  private var untoldInstructions: [ExecutionID: String] = [:]

  var messages: [Message] { entries.map(\.message) }

  /// Without the messages that wait for a turn: they will be that turn's input.
  var messagesOfTurns: [Message] {
    let waiting = Set(pending.entries.map(\.seq))
    return entries.filter { !waiting.contains($0.seq) }.map(\.message)
  }

  /// Without what turns behind this one were asked while it was still at work.
  func messages(through turn: Execution) -> [Message] {
    entries.filter { $0.execution == nil || $0.execution == turn.id || $0.seq < turn.firstSeq }.map(\.message)
  }

  mutating func fold(_ event: SessionEvent) {
    pending.fold(event)
    foldInstructions(event)
    switch event.payload {
    case .messageAppended(let message):
      entries.append(Entry(message: message, seq: event.seq, execution: event.executionID))
    case .executionFailed(let failure, _) where failure.code == CentaurError.Code.noFreeSandbox.rawValue:
      // It is as if it had not been asked; whoever meant it says it again.
      entries.removeAll { $0.execution == event.executionID }
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
    case .executionStarted:
      guard let id = event.executionID, let told = untoldInstructions.removeValue(forKey: id) else { return }
      instructions = told
    case .executionResumed(let outputs): instructions = outputs.compactMap(\.instructions).last ?? instructions
    default: break
    }
  }

  /// The conversation of a session up to and including `upTo`.
  /// - Parameter seesLaterEnds: reads on, to learn of turns up to there that ended later without having been run
  static func read(
    _ session: SessionID, from store: any SessionStore, upTo: Int64 = .max, seesLaterEnds: Bool = false
  ) async throws -> Conversation {
    var conversation = Conversation()
    var cursor: Int64 = 0
    while true {
      let page = try await store.eventsWithoutPieces(session, after: cursor, limit: 1000)
      for event in page where event.seq <= upTo || seesLaterEnds && PendingMessages.wasNotRun(event) {
        conversation.fold(event)
      }
      guard let last = page.last, last.seq < upTo || seesLaterEnds else { return conversation }
      cursor = last.seq
    }
  }
}
