import SessionModel

/// What was said in a session, as a fold over its log: what a harness that has not begun the conversation is told,
/// and what a fork copies.
struct Conversation: Sendable {
  private(set) var messages: [Message] = []
  /// Which turn took each.
  private var takers: [ExecutionID?] = []

  mutating func fold(_ event: SessionEvent) {
    switch event.payload {
    case .messageAppended(let message):
      messages.append(message)
      takers.append(event.executionID)
    case .executionFailed(let failure, _) where failure.code == CentaurError.Code.noFreeSandbox.rawValue:
      // It is as if it had not been asked; whoever meant it says it again.
      let stays = takers.indices.filter { takers[$0] != event.executionID }
      (messages, takers) = (stays.map { messages[$0] }, stays.map { takers[$0] })
    case .itemCompleted(let item):
      guard case .message(let message) = item.content, !message.text.isEmpty else { return }
      messages.append(Message(role: .assistant, parts: [.text(message.text)]))
      takers.append(nil)
    default: break
    }
  }

  /// The conversation of a session up to and including `upTo`.
  static func read(_ session: SessionID, from store: any SessionStore, upTo: Int64 = .max) async throws -> Conversation
  {
    var conversation = Conversation()
    var cursor: Int64 = 0
    while true {
      let page = try await store.events(session, after: cursor, limit: 1000)
      for event in page where event.seq <= upTo { conversation.fold(event) }
      guard let last = page.last, last.seq < upTo else { return conversation }
      cursor = last.seq
    }
  }
}
