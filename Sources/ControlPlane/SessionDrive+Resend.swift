import SessionModel

/// What a user says once more because the answer broke off.
extension SessionDrive {
  /// The newest turn, where the request says again what that turn was asked and its client does not hold its answer to the
  /// end. Run again, the agent's work would be done twice.
  ///
  /// A turn that failed or was cancelled has no answer to be told on; nor is one asked for behind an interrupt.
  func brokenOff(_ request: TurnRequest, _ input: [Message]) async throws -> ExecutionID? {
    guard let held = request.heldAnswer, request.turnKey == nil, !request.abortsRunningTurn, let session,
      let newest = try await services.store.newestExecution(session.id),
      !newest.status.isTerminal || newest.status == .completed,
      // Another client may have asked the same of the session meanwhile.
      newest.options.conversation == request.options.conversation
    else { return nil }
    var asked: [Message.Part] = []
    var answer: String?
    try await read(newest, withPieces: false) { event in
      switch event.payload {
      case .messageAppended(let message): asked += message.parts
      case .itemCompleted(let item):
        if case .message(let message) = item.content, !message.text.isEmpty { answer = message.text }
      default: break
      }
    }
    guard asked == input.flatMap(\.parts) else { return nil }
    guard newest.status == .completed else { return newest.id }
    guard let answer, Self.trimmed(answer) != Self.trimmed(held) else { return nil }
    logger.info("an answer that broke off is told on", metadata: ["execution": "\(newest.id)"])
    return newest.id
  }

  /// Clients may take white space from the end of what they keep.
  private static func trimmed(_ text: String) -> Substring {
    var text = text[...]
    while text.first?.isWhitespace == true { text.removeFirst() }
    while text.last?.isWhitespace == true { text.removeLast() }
    return text
  }
}
