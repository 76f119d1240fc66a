import SessionModel

/// What a forked conversation begins with.
struct ForkedHistory: Sendable {
  var parent: ThreadKey
  /// The parent's log counts up to this event.
  var atSeq: Int64
  var messages: [Message]
  var harness: HarnessName
  var persona: String?
  var instructions: String?
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
    guard let (seq, turn) = try await point(of: fork, in: parent) else { return nil }
    let conversation = try await Conversation.read(parent.id, from: services.store, upTo: seq)
    return ForkedHistory(
      parent: fork.parent, atSeq: seq, messages: turn.map(conversation.messages(through:)) ?? conversation.messages,
      harness: parent.harness,
      persona: parent.persona, instructions: conversation.instructions)
  }

  /// The event up to which a fork has its parent's log, and the turn that ends there, where it is that of a turn.
  private func point(of fork: TurnRequest.Fork, in parent: Session) async throws -> (seq: Int64, turn: Execution?)? {
    switch fork.point {
    case .turn(let id, let waiting):
      guard let turn = try await services.store.execution(id), let end = waiting ?? turn.terminalSeq else { return nil }
      return (end, turn)
    case .heldItems(let ids):
      for wireID in ids.reversed() {
        if let seq = try await services.store.seq(ofItem: wireID, in: parent.id) { return (seq, nil) }
      }
      return nil
    }
  }
}

extension SessionDrive {
  /// What the log of a session that branches off says of its files.
  static var ownWorkspace: EventDraft {
    EventDraft(
      .warning(
        code: EventPayload.workspaceNotForkedCode,
        message: "The session begins with the conversation up to that point and with a new workspace: what the agent "
          + "did to files there is in the other session's."))
  }
}

extension SessionStore {
  /// The event that closed an item of a session, by its wire id; nil where the session has no such item. Costs a look at
  /// the items of its turn.
  func seq(ofItem wireID: String, in session: SessionID) async throws -> Int64? {
    guard let (execution, ordinal) = Self.itemNamed(wireID), let turn = try await self.execution(execution),
      turn.sessionID == session
    else { return nil }
    var cursor = turn.firstSeq - 1
    let end = turn.terminalSeq ?? .max
    while true {
      let page = try await conversation(session, after: cursor, before: end, newestFirst: false, limit: 200)
      for event in page where event.executionID == execution {
        if case .itemCompleted(let item) = event.payload, item.ordinal == ordinal { return event.seq }
      }
      guard let last = page.last else { return nil }
      cursor = last.seq
    }
  }

  /// The event with which a client was told of a call, or with which it gave the output; nil where the session has no such.
  func seq(of call: ClientCallID, isOutput: Bool, in session: SessionID) async throws -> Int64? {
    guard let turn = try await execution(call.execution), turn.sessionID == session else { return nil }
    var cursor = turn.firstSeq - 1
    let end = turn.terminalSeq ?? .max
    while true {
      let page = try await conversation(session, after: cursor, before: end, newestFirst: false, limit: 200)
      for event in page where event.executionID == turn.id {
        switch event.payload {
        case .executionWaiting(let calls, _) where !isOutput && calls.contains { $0.id == call }: return event.seq
        case .executionResumed(let outputs, _) where isOutput && outputs.contains { $0.call == call }: return event.seq
        default: continue
        }
      }
      guard let last = page.last else { return nil }
      cursor = last.seq
    }
  }

  /// The execution and the item that a wire id was derived from (`msg_<execution>_<ordinal>`).
  static func itemNamed(_ wireID: String) -> (ExecutionID, Int)? {
    let parts = wireID.split(separator: "_", omittingEmptySubsequences: false)
    guard parts.count == 3, let ordinal = Int(parts[2]) else { return nil }
    return (ExecutionID(rawValue: String(parts[1])), ordinal)
  }
}
