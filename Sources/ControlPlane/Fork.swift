import SessionModel

/// What a forked conversation begins with.
struct ForkedHistory: Sendable {
  var parent: ThreadKey
  /// The parent's log counts up to this event.
  var atSeq: Int64
  var messages: [Message]
  var harness: HarnessName
}

extension SessionDrive {
  /// The history of the session that a client says it forked from, cut where the client's copy ends.
  ///
  /// Nil where that session is not known here or the client's copy holds nothing of ours: then the client's own telling
  /// of the conversation is all there is.
  func forkedHistory(_ request: TurnRequest) async throws -> ForkedHistory? {
    guard let fork = request.fork, let parent = try await services.store.session(owner: owner, key: fork.parent) else {
      return nil
    }
    for wireID in fork.heldItemIDs.reversed() {
      guard let (execution, ordinal) = Self.itemNamed(wireID),
        let turn = try await services.store.execution(execution), turn.sessionID == parent.id,
        let seq = try await seq(ofItem: ordinal, in: turn)
      else { continue }
      let conversation = try await Conversation.read(parent.id, from: services.store, upTo: seq)
      return ForkedHistory(
        parent: fork.parent, atSeq: seq, messages: conversation.messages, harness: parent.harness)
    }
    return nil
  }

  /// The execution and the item that a wire id was derived from (`msg_<execution>_<ordinal>`).
  static func itemNamed(_ wireID: String) -> (ExecutionID, Int)? {
    let parts = wireID.split(separator: "_", omittingEmptySubsequences: false)
    guard parts.count == 3, let ordinal = Int(parts[2]) else { return nil }
    return (ExecutionID(rawValue: String(parts[1])), ordinal)
  }

  private func seq(ofItem ordinal: Int, in turn: Execution) async throws -> Int64? {
    var cursor = turn.firstSeq - 1
    while true {
      let page = try await services.store.eventsWithoutPieces(turn.sessionID, after: cursor, limit: 1000)
      for event in page where event.executionID == turn.id {
        if case .itemCompleted(let item) = event.payload, item.ordinal == ordinal { return event.seq }
      }
      guard let last = page.last, turn.terminalSeq.map({ last.seq < $0 }) ?? true else { return nil }
      cursor = last.seq
    }
  }
}
