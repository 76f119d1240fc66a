public import SessionModel

/// Items that a client names by the ids under which it was shown them.
extension ControlPlane {
  /// The event that holds an item of one of the owner's sessions: something that was said to it, or that an answer had.
  ///
  /// Only of turns of which an answer is kept: what a client did not want stored, or has deleted, is unknown.
  /// - Returns: nil also where it is another owner's, or was taken out of its conversation
  public func event(ofItem id: String, owner: Owner) async throws -> SessionEvent? {
    let store = services.store
    let said = ListedConversation.place(inItemID: id)
    var named = said?.session
    if let execution = Self.execution(inID: id) { named = try await store.execution(execution)?.sessionID }
    // Nothing of another owner's is read.
    guard let named, let session = try await store.session(named), session.owner == owner else { return nil }
    let seq: Int64? =
      if let said {
        said.seq
      } else if let (call, isOutput) = ListedConversation.call(inItemID: id) {
        try await store.seq(of: call, isOutput: isOutput, in: session.id)
      } else {
        try await store.seq(ofItem: id, in: session.id)
      }
    guard let seq, seq > 0, seq <= session.lastSeq,
      let event = try await store.conversation(
        session.id, after: seq - 1, before: seq + 1, newestFirst: false, limit: 1
      ).first
    else { return nil }
    // What belongs to no turn was said for all of them.
    let turn = if let own = event.executionID { own } else { try await store.newestExecution(session.id)?.id }
    guard let turn, try await store.replies(turn).contains(where: \.isKept) else { return nil }
    guard let conversation = Self.conversation(of: session.key) else { return event }
    return try await store.hiddenItems(conversation, among: [id]).isEmpty ? event : nil
  }
}
