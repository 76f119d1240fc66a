public import SessionModel

/// Conversations that clients open by a name that we give: each is a session under a thread key that follows from the
/// name. The session begins with the first turn, as any other: its harness, persona and instructions are that request's.
/// What a client adds to a conversation beside its turns waits for the next one.
extension ControlPlane {
  /// Opens a conversation.
  /// - Throws: `CentaurError` with `keptLimit`
  public func openConversation(owner: Owner, metadata: JSONValue, items: [AddedItem]) async throws -> ConversationRecord
  {
    let conversation = ConversationRecord(
      id: "conv_\(services.ids.thread())", owner: owner, metadata: metadata, createdAt: services.clock.now)
    try await services.store.add(conversation, items, limit: services.configuration.limits.kept)
    return conversation
  }

  /// - Throws: `CentaurError` with `conversationNotFound`
  public func conversation(owner: Owner, id: String) async throws -> ConversationRecord {
    guard let found = try await services.store.conversation(owner: owner, id: id) else {
      throw Self.unknownConversation(id)
    }
    return found
  }

  /// - Throws: `CentaurError` with `conversationNotFound`
  public func setMetadata(_ metadata: JSONValue, ofConversation id: String, owner: Owner) async throws {
    guard try await services.store.setMetadata(metadata, of: id, owner: owner) else {
      throw Self.unknownConversation(id)
    }
  }

  /// Forgets a conversation's name. Its session, and what runs in it, goes on under its thread key.
  /// - Throws: `CentaurError` with `conversationNotFound`
  public func forgetConversation(_ id: String, owner: Owner) async throws {
    guard try await services.store.removeConversation(id, owner: owner) else { throw Self.unknownConversation(id) }
  }

  /// Adds to a conversation what the next turn in it is to take.
  /// - Throws: `CentaurError` with `conversationNotFound`, `keptLimit`
  public func add(_ items: [AddedItem], toConversation id: String, owner: Owner) async throws {
    _ = try await conversation(owner: owner, id: id)
    let session = try await services.store.session(owner: owner, key: Self.key(ofConversation: id))
    try await services.store.add(
      items, to: id, of: session?.id, at: services.clock.now, limit: services.configuration.limits.kept)
  }

  /// The session of a conversation.
  /// - Throws: `CentaurError` with `threadKeyTooLong`, `threadKeyMalformed`
  public static func key(ofConversation id: String) throws(CentaurError) -> ThreadKey {
    try ThreadKey("api:conv:\(id.hasPrefix("conv_") ? id.dropFirst("conv_".count) : id[...])")
  }

  /// The conversation that a session is; nil for any other.
  static func conversation(of key: ThreadKey) -> String? {
    let prefix = "api:conv:"
    return key.rawValue.hasPrefix(prefix) ? "conv_\(key.rawValue.dropFirst(prefix.count))" : nil
  }

  static func unknownConversation(_ id: String) -> CentaurError {
    CentaurError(
      .conversationNotFound, "There is no conversation with the id '\(id.prefix(128))'.", parameter: "conversation")
  }
}

extension SessionDrive {
  /// What was added to the request's conversation since its last turn. The commit of the turn takes it.
  func addedMessages(_ request: TurnRequest) async throws -> [Message] {
    guard case .conversation(let id) = request.session else { return [] }
    return try await services.store.waitingItems(id, takenBy: session?.id).map { item in
      var message = item.message
      message.clientID = item.id
      return message
    }
  }
}

extension Message {
  /// As a turn's input, which a harness takes as its user's words whoever said them.
  var asSaidByUser: Message {
    let title: String
    switch role {
    case .user: return self
    case .assistant: title = "[This was said before by the assistant:]"
    case .system: title = "[This is an instruction:]"
    }
    guard !parts.isEmpty else { return Message(parts: [], clientID: clientID) }
    var said = Message(parts: [.text(title)] + parts, clientID: clientID)
    said.isNote = isNote
    return said
  }
}
