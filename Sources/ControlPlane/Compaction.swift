public import SessionModel

/// A conversation whose client wants to hold less of it: the session keeps its own context, so the client is given a name
/// for the point that it has come to, and nothing is summed up.
extension ControlPlane {
  /// Where a conversation goes on that is to be compacted.
  public enum CompactionStart: Sendable, Hashable {
    /// Behind a response.
    case response(String)
    /// Behind what was compacted before; `parameter` is where the request has it.
    case compacted(String, parameter: String)
    /// Nowhere: what the client tells is all of it.
    case nothing
  }

  /// Keeps a point under a new name.
  /// - Parameter messages: what was said behind `start`
  /// - Throws: `CentaurError` with `previousResponseNotFound`, `invalidValue`, `keptLimit`
  public func compact(
    _ messages: [Message], behind start: CompactionStart, owner: Owner
  ) async throws -> CompactedConversation {
    let store = services.store
    var (execution, before): (ExecutionID?, [Message]) = (nil, [])
    switch start {
    case .response(let id):
      guard let reply = try await store.reply(owner: owner, wireID: id) else {
        throw Self.unknownPreviousResponse(id)
      }
      execution = reply.executionID
    case .compacted(let id, let parameter):
      guard let earlier = try await store.compacted(owner: owner, id: id) else {
        throw Self.unknownCompaction(parameter)
      }
      (execution, before) = (earlier.execution, earlier.messages)
    case .nothing: break
    }
    let compacted = CompactedConversation(
      id: "centaur_\(services.ids.thread())\(services.ids.thread())", owner: owner, execution: execution,
      messages: before + messages, createdAt: services.clock.now)
    try await store.add(compacted, limit: services.configuration.limits.kept)
    return compacted
  }

  static func unknownPreviousResponse(_ id: String) -> CentaurError {
    CentaurError(
      .previousResponseNotFound, "There is no response with the id '\(id.prefix(128))'.",
      parameter: "previous_response_id")
  }

  static func unknownCompaction(_ parameter: String) -> CentaurError {
    CentaurError(
      .invalidValue, "The compaction item is not one that this server has given.", parameter: parameter)
  }

  /// The tokens of a session's context behind a response, or behind a conversation's newest turn; 0 where none has been
  /// reported.
  /// - Throws: `CentaurError` with `previousResponseNotFound`, `conversationNotFound`
  public func contextTokens(owner: Owner, replyID: String?, conversation: String?) async throws -> Int {
    let store = services.store
    var turn: Execution?
    if let replyID {
      guard let reply = try await store.reply(owner: owner, wireID: replyID) else {
        throw Self.unknownPreviousResponse(replyID)
      }
      turn = try await store.execution(reply.executionID)
    } else if let conversation {
      _ = try await self.conversation(owner: owner, id: conversation)
      if let session = try await store.session(owner: owner, key: Self.key(ofConversation: conversation)) {
        turn = try await store.newestExecution(session.id)
      }
    }
    guard let turn, let end = turn.terminalSeq,
      let event = try await store.events(turn.sessionID, after: end - 1, limit: 1).first
    else { return 0 }
    switch event.payload {
    case .executionCompleted(let usage), .executionFailed(_, let usage), .executionCancelled(_, let usage):
      return usage.last.input + usage.last.output
    default: return 0
    }
  }
}
