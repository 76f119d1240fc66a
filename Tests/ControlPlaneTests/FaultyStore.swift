import SessionModel
import Synchronization

/// A real store whose calls can be made to fail: faults are inputs.
final class FaultyStore: SessionStore {
  enum Call: Sendable, Hashable {
    case commit
    case releaseLease
    /// Of a session's open turns: the first read of a recovery.
    case openExecutions(SessionID)
    /// Of what was said in a session, as a harness that begins is told it.
    case eventsWithoutPieces(SessionID)
  }

  fileprivate let base: any SessionStore
  private let faults = Mutex<[Call: Int]>([:])

  init(_ base: any SessionStore) { self.base = base }

  /// Lets `after` calls of the kind succeed, and none after those.
  func fail(_ call: Call, after: Int = 0) { faults.withLock { $0[call] = after } }

  func heal() { faults.withLock { $0 = [:] } }

  private func check(_ call: Call) throws {
    let fails = faults.withLock { faults in
      guard let left = faults[call] else { return false }
      faults[call] = max(0, left - 1)
      return left == 0
    }
    if fails { throw CentaurError(.storeUnavailable, "The store was told to fail.") }
  }

  func commit(_ commit: SessionCommit) async throws -> CommitResult {
    try check(.commit)
    return try await base.commit(commit)
  }

  func openExecutions(_ session: SessionID) async throws -> [Execution] {
    try check(.openExecutions(session))
    return try await base.openExecutions(session)
  }

  // MARK: As it is

  func session(_ id: SessionID) async throws -> Session? { try await base.session(id) }
  func session(owner: Owner, key: ThreadKey) async throws -> Session? { try await base.session(owner: owner, key: key) }
  func sessions(owner: Owner, before: SessionID?, limit: Int) async throws -> [Session] {
    try await base.sessions(owner: owner, before: before, limit: limit)
  }
  func events(_ session: SessionID, after: Int64, limit: Int) async throws -> [SessionEvent] {
    try await base.events(session, after: after, limit: limit)
  }
  func eventsWithoutPieces(_ session: SessionID, after: Int64, limit: Int) async throws -> [SessionEvent] {
    try check(.eventsWithoutPieces(session))
    return try await base.eventsWithoutPieces(session, after: after, limit: limit)
  }
  func eventWithInstructions(_ session: SessionID, before: Int64) async throws -> SessionEvent? {
    try await base.eventWithInstructions(session, before: before)
  }
  func execution(_ id: ExecutionID) async throws -> Execution? { try await base.execution(id) }
  func execution(_ session: SessionID, turnKey: String) async throws -> Execution? {
    try await base.execution(session, turnKey: turnKey)
  }
  func takers(_ session: SessionID, clientIDs: [String]) async throws -> [String: TakenInput] {
    try await base.takers(session, clientIDs: clientIDs)
  }
  func newestAnswered(_ session: SessionID, before ordinal: Int) async throws -> Execution? {
    try await base.newestAnswered(session, before: ordinal)
  }
  func newestExecution(_ session: SessionID) async throws -> Execution? { try await base.newestExecution(session) }
  func sessionsWithOpenExecutions() async throws -> [SessionID] { try await base.sessionsWithOpenExecutions() }
  func conversation(
    _ session: SessionID, after: Int64, before: Int64, newestFirst: Bool, limit: Int
  ) async throws -> [SessionEvent] {
    try await base.conversation(session, after: after, before: before, newestFirst: newestFirst, limit: limit)
  }
  func executions(_ session: SessionID, after ordinal: Int, limit: Int) async throws -> [Execution] {
    try await base.executions(session, after: ordinal, limit: limit)
  }
  func execution(owner: Owner, historyDigest: String) async throws -> Execution? {
    try await base.execution(owner: owner, historyDigest: historyDigest)
  }
  func isFollowed(_ execution: Execution) async throws -> Bool { try await base.isFollowed(execution) }
  func harnessJournal(_ session: SessionID) async throws -> HarnessJournal { try await base.harnessJournal(session) }
  func reply(owner: Owner, wireID: String) async throws -> Reply? {
    try await base.reply(owner: owner, wireID: wireID)
  }
  func replyOrUnkept(owner: Owner, wireID: String) async throws -> Reply? {
    try await base.replyOrUnkept(owner: owner, wireID: wireID)
  }
  func replies(_ execution: ExecutionID) async throws -> [Reply] { try await base.replies(execution) }
  func acquireLease(
    _ session: SessionID, holder: String, now: Timestamp, until: Timestamp,
    _ isDead: @escaping @Sendable (String) -> Bool
  ) async throws -> FencingToken {
    try await base.acquireLease(session, holder: holder, now: now, until: until, isDead)
  }
  func renewLeases(
    of sessions: [SessionID], holder: String, until: Timestamp
  ) async throws -> [SessionID: FencingToken] {
    try await base.renewLeases(of: sessions, holder: holder, until: until)
  }
  func releaseLease(_ session: SessionID, token: FencingToken) async throws {
    try check(.releaseLease)
    try await base.releaseLease(session, token: token)
  }
}

extension FaultyStore {
  func add(_ conversation: ConversationRecord, _ items: [AddedItem], limit: Int) async throws {
    try await base.add(conversation, items, limit: limit)
  }
  func conversation(owner: Owner, id: String) async throws -> ConversationRecord? {
    try await base.conversation(owner: owner, id: id)
  }
  func setMetadata(_ metadata: JSONValue, of conversation: String, owner: Owner) async throws -> Bool {
    try await base.setMetadata(metadata, of: conversation, owner: owner)
  }
  func removeConversation(_ id: String, owner: Owner) async throws -> Bool {
    try await base.removeConversation(id, owner: owner)
  }
  func add(
    _ items: [AddedItem], to conversation: String, of session: SessionID?, at time: Timestamp, limit: Int
  ) async throws {
    try await base.add(items, to: conversation, of: session, at: time, limit: limit)
  }
  func waitingItems(_ conversation: String, takenBy session: SessionID?) async throws -> [AddedItem] {
    try await base.waitingItems(conversation, takenBy: session)
  }
  func addedItems(_ conversation: String, ids: [String]) async throws -> [AddedItem] {
    try await base.addedItems(conversation, ids: ids)
  }
  func hideItem(_ id: String, of conversation: String) async throws {
    try await base.hideItem(id, of: conversation)
  }
  func hiddenItems(_ conversation: String, among ids: [String]) async throws -> Set<String> {
    try await base.hiddenItems(conversation, among: ids)
  }
  func add(_ compacted: CompactedConversation, limit: Int) async throws { try await base.add(compacted, limit: limit) }
  func removeKept(before moment: Timestamp) async throws { try await base.removeKept(before: moment) }
  func removeKept(of session: SessionID) async throws { try await base.removeKept(of: session) }
  func reply(owner: Owner, requestName: String) async throws -> Reply? {
    try await base.reply(owner: owner, requestName: requestName)
  }
  func answers(owner: Owner, requestName: String, endedSince: Timestamp) async throws -> [NamedAnswer] {
    try await base.answers(owner: owner, requestName: requestName, endedSince: endedSince)
  }
  func compacted(owner: Owner, id: String) async throws -> CompactedConversation? {
    try await base.compacted(owner: owner, id: id)
  }
}
