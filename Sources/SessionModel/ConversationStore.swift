/// A conversation that a client opened by name: its session begins with the first turn in it.
public struct ConversationRecord: Sendable, Hashable {
  /// As the client knows it (`conv_…`).
  public let id: String
  public let owner: Owner
  public let metadata: JSONValue
  public let createdAt: Timestamp

  public init(id: String, owner: Owner, metadata: JSONValue, createdAt: Timestamp) {
    self.id = id
    self.owner = owner
    self.metadata = metadata
    self.createdAt = createdAt
  }
}

/// Something that a client put into a conversation beside its turns. The next turn takes it, as a message whose client id
/// is this item's id: so a session's taken inputs say which items still wait.
public struct AddedItem: Sendable, Hashable {
  public let id: String
  /// As the client's dialect shows it.
  public let shown: JSONValue
  /// What the agent is told of it; without parts where it says nothing.
  public let message: Message

  public init(id: String, shown: JSONValue, message: Message) {
    self.id = id
    self.shown = shown
    self.message = message
  }
}

/// A point of a conversation that a client holds under an opaque name and may go on from.
public struct CompactedConversation: Sendable, Hashable {
  public let id: String
  public let owner: Owner
  /// The turn that it ends with; nil where no session of ours has led it.
  public let execution: ExecutionID?
  /// What was said and is in no log up to there.
  public let messages: [Message]
  public let createdAt: Timestamp

  public init(id: String, owner: Owner, execution: ExecutionID?, messages: [Message], createdAt: Timestamp) {
    self.id = id
    self.owner = owner
    self.execution = execution
    self.messages = messages
    self.createdAt = createdAt
  }
}

/// What clients call by names of its own beside sessions: small rows, no log.
///
/// All methods throw `CentaurError` with `storeUnavailable` and `storeCorrupt`, as those of `SessionStore`. Those that add
/// something throw `keptLimit` and add nothing where an owner's compacted conversations and waiting items would take more
/// than `limit` bytes together.
public protocol ConversationStore: Sendable {
  func add(_ conversation: ConversationRecord, _ items: [AddedItem], limit: Int) async throws
  func conversation(owner: Owner, id: String) async throws -> ConversationRecord?
  /// - Returns: whether the owner has such a conversation
  func setMetadata(_ metadata: JSONValue, of conversation: String, owner: Owner) async throws -> Bool
  /// Forgets the conversation and the items that were added to it. Its session stays.
  /// - Returns: whether the owner had such a conversation
  func removeConversation(_ id: String, owner: Owner) async throws -> Bool

  /// - Parameter session: the conversation's, where it has begun
  func add(
    _ items: [AddedItem], to conversation: String, of session: SessionID?, at time: Timestamp, limit: Int
  ) async throws
  /// Items that no turn of the session has taken, oldest first.
  func waitingItems(_ conversation: String, takenBy session: SessionID?) async throws -> [AddedItem]
  /// Those of the ids that were added to the conversation and are still shown.
  func addedItems(_ conversation: String, ids: [String]) async throws -> [AddedItem]
  /// Shows an item no more. One that waits is taken by no turn.
  func hideItem(_ id: String, of conversation: String) async throws
  /// Those of the ids that are shown no more.
  func hiddenItems(_ conversation: String, among ids: [String]) async throws -> Set<String>

  func add(_ compacted: CompactedConversation, limit: Int) async throws
  func compacted(owner: Owner, id: String) async throws -> CompactedConversation?

  /// Removes compacted conversations, and items that wait for a turn, that were added before a moment.
  func removeKept(before moment: Timestamp) async throws
  /// Removes compacted conversations that end in a session, and items that wait for a turn of it.
  func removeKept(of session: SessionID) async throws
}
