public import SessionModel

/// What was said in a session and what waits to be: a list that is read by pages, from either end, at the cost of the
/// page. An ingress shows its entries. Calls of the client's tools are in it where the client was told of them
/// (`execution.waiting`), and outputs where it gave them (`execution.resumed`).
public struct ListedConversation: Sendable {
  /// One entry: an event of the log, or an item that waits for a turn.
  public enum Entry: Sendable, Hashable {
    case event(SessionEvent)
    case waiting(AddedItem)
  }

  /// An entry and its place. Places are given to nobody but to this list again.
  public struct Place: Sendable, Hashable, Comparable {
    let value: Int64
    public static func < (left: Place, right: Place) -> Bool { left.value < right.value }
    public static let beginning = Place(value: 0)
    public static let end = Place(value: .max)
    public var before: Place { Place(value: value - 1) }
    public var after: Place { Place(value: value + 1) }
  }

  private let store: any SessionStore
  private let session: SessionID?
  /// The turn whose input this is; what came later is no part of it.
  private let turn: Execution?
  /// The log's events from here on are not listed.
  private let logEnd: Int64
  private let waiting: [AddedItem]
  /// What held in the turn; an entry of the session's beginning has them.
  private let instructions: String?
  /// Its items may be hidden, and may have been given a form of their own.
  private let conversation: String?

  init(
    _ store: any SessionStore, session: SessionID?, turn: Execution? = nil, logEnd: Int64 = firstWaiting,
    instructions: String? = nil, conversation: String? = nil, waiting: [AddedItem] = []
  ) {
    self.store = store
    self.session = session
    self.turn = turn
    self.logEnd = logEnd
    self.instructions = instructions
    self.conversation = conversation
    self.waiting = waiting
  }

  /// Items that wait have places behind all events.
  private static let firstWaiting = Int64.max / 2

  /// Entries between two places, without these. Fewer than `limit` do not mean that there are no more: none does.
  public func entries(
    after: Place, before: Place, newestFirst: Bool, limit: Int
  ) async throws -> [(place: Place, entry: Entry)] {
    let those = waiting.enumerated().map {
      (place: Place(value: Self.firstWaiting + Int64($0)), entry: Entry.waiting($1))
    }
    .filter { $0.place > after && $0.place < before }
    guard !newestFirst else {
      if !those.isEmpty { return Array(those.reversed().prefix(limit)) }
      return try await events(after: after, before: before, newestFirst: true, limit: limit)
    }
    let events = try await events(after: after, before: before, newestFirst: false, limit: limit)
    return events.isEmpty ? Array(those.prefix(limit)) : events
  }

  private func events(
    after: Place, before: Place, newestFirst: Bool, limit: Int
  ) async throws -> [(place: Place, entry: Entry)] {
    guard let session else { return [] }
    var (low, high) = (after.value, min(before.value, logEnd))
    while true {
      let page = try await store.conversation(
        session, after: low, before: high, newestFirst: newestFirst, limit: limit)
      var listed: [SessionEvent] = []
      for event in page where try await isListed(event) {
        listed.append(try await withNewCalls(withOwnInstructions(event)))
      }
      guard listed.isEmpty, let last = page.last else {
        return listed.map { (Place(value: $0.seq), .event($0)) }
      }
      // All of it is another turn's: the next ones may not be.
      if newestFirst { high = last.seq } else { low = last.seq }
    }
  }

  /// A turn is not asked what later ones were asked while it waited.
  private func isListed(_ event: SessionEvent) async throws -> Bool {
    guard let turn, event.seq > turn.firstSeq, case .messageAppended = event.payload, let id = event.executionID,
      id != turn.id
    else { return true }
    guard let other = try await store.execution(id) else { return false }
    return other.ordinal < turn.ordinal
  }

  /// The session's beginning with the instructions that hold in the turn, in the place of those of its first request.
  private func withOwnInstructions(_ event: SessionEvent) -> SessionEvent {
    guard turn != nil, case .sessionCreated(var created) = event.payload else { return event }
    created.instructions = instructions
    return SessionEvent(
      seq: event.seq, sessionID: event.sessionID, executionID: event.executionID, payload: .sessionCreated(created),
      createdAt: event.createdAt)
  }

  /// A wait as far as it is news: where only some of the calls were answered, the log names the others again.
  private func withNewCalls(_ event: SessionEvent) async throws -> SessionEvent {
    // What a line of the harness tells is new.
    guard case .executionWaiting(let calls, let usage) = event.payload, event.source == nil else { return event }
    var high = event.seq
    while true {
      let before = try await store.conversation(
        event.sessionID, after: 0, before: high, newestFirst: true, limit: 10)
      for earlier in before where earlier.executionID == event.executionID {
        guard case .executionWaiting(let known, _) = earlier.payload else { continue }
        let ids = Set(known.map(\.id))
        return SessionEvent(
          seq: event.seq, sessionID: event.sessionID, executionID: event.executionID,
          payload: .executionWaiting(calls.filter { !ids.contains($0.id) }, usage), createdAt: event.createdAt)
      }
      guard let last = before.last else { return event }
      high = last.seq
    }
  }

  /// Where an entry stands, by the id that clients know; nil where this list has no such entry.
  public func place(of id: String) async throws -> Place? {
    if let index = waiting.firstIndex(where: { $0.id == id }) { return Place(value: Self.firstWaiting + Int64(index)) }
    guard let session else { return nil }
    let seq: Int64? =
      if let seq = Self.seq(inItemID: id, of: session) {
        seq
      } else if let (call, isOutput) = Self.call(inItemID: id) {
        try await store.seq(of: call, isOutput: isOutput, in: session)
      } else if let taken = try await store.takers(session, clientIDs: [id])[id], taken.seq > 0 { taken.seq } else {
        try await store.seq(ofItem: id, in: session)
      }
    guard let seq, seq > 0, seq < logEnd else { return nil }
    return Place(value: seq)
  }

  /// The id of a message that was said to the session, where its client has given it none that is ours.
  public static func itemID(_ event: SessionEvent) -> String { "msg_\(event.sessionID)_m\(event.seq)" }

  /// The id of a call of a client's tool as an item, and that of what the tool said.
  public static func itemID(of call: ClientCallID) -> String { call.name("fc") }
  public static func itemID(ofOutputOf call: ClientCallID) -> String { call.name("fco") }

  static func call(inItemID id: String) -> (ClientCallID, isOutput: Bool)? {
    guard id.hasPrefix("fc_") || id.hasPrefix("fco_"), let rest = id.firstIndex(of: "_"),
      let call = ClientCallID("call\(id[rest...])")
    else { return nil }
    return (call, id.hasPrefix("fco_"))
  }

  private static func seq(inItemID id: String, of session: SessionID) -> Int64? {
    place(inItemID: id).flatMap { $0.session == session ? $0.seq : nil }
  }

  /// The event that an id of this form stands for.
  static func place(inItemID id: String) -> (session: SessionID, seq: Int64)? {
    let parts = id.split(separator: "_", omittingEmptySubsequences: false)
    guard parts.count == 3, parts[0] == "msg", parts[2].hasPrefix("m"), let seq = Int64(parts[2].dropFirst()) else {
      return nil
    }
    return (SessionID(rawValue: String(parts[1])), seq)
  }

  /// Those of the ids that the client has given items itself, as it is to be shown them.
  public func added(_ ids: [String]) async throws -> [String: JSONValue] {
    guard let conversation, !ids.isEmpty else { return [:] }
    return Dictionary(
      try await store.addedItems(conversation, ids: ids).map { ($0.id, $0.shown) }
    ) { first, _ in first }
  }

  /// Those of the ids that the client has taken out.
  public func hidden(_ ids: [String]) async throws -> Set<String> {
    guard let conversation, !ids.isEmpty else { return [] }
    return try await store.hiddenItems(conversation, among: ids)
  }
}

extension ControlPlane {
  /// What the turn behind a response was asked: all that was said in its session before it, and its own input. Of a
  /// response in which a turn went on that had waited for its client: all up to the outputs that it was given, and what
  /// was said beside them.
  /// - Throws: `CentaurError` with `responseNotFound`
  public func input(ofReply id: String, owner: Owner) async throws -> ListedConversation {
    let turn = try await turn(owner: owner, replyID: id, isFollowed: false)
    let wait = turn.reply.afterSeq
    let end = try await wait > 0 ? endOfOutputs(behind: wait, turn.execution) : start(of: turn.execution)
    let logEnd = end ?? turn.session.lastSeq + 1
    return ListedConversation(
      services.store, session: turn.session.id, turn: turn.execution, logEnd: logEnd,
      // The turn's own start may say which hold.
      instructions: try await instructions(of: turn.execution, before: logEnd + 1))
  }

  /// The instructions that hold in a turn, up to an event of it: those that were told last, by it or before it.
  private func instructions(of turn: Execution, before end: Int64) async throws -> String? {
    var end = end
    while let event = try await services.store.eventWithInstructions(turn.sessionID, before: end) {
      end = event.seq
      switch event.payload {
      case .sessionCreated(let created): return created.instructions
      case .executionResumed(let outputs, _):
        if let told = outputs.compactMap(\.instructions).last { return told }
      case .executionStarted(_, let told?) where !told.isEmpty: return told
      case .executionQueued(let options):
        guard let told = options.instructions, let id = event.executionID else { continue }
        if id == turn.id { return told }
        // One that waits behind the turn, or that never began, has told nobody anything.
        guard let other = try await services.store.execution(id), other.ordinal < turn.ordinal,
          try await hasBegun(other)
        else { continue }
        return told
      default: continue
      }
    }
    return nil
  }

  private func hasBegun(_ turn: Execution) async throws -> Bool {
    guard turn.status == .cancelled || turn.status == .failed else { return true }
    guard let seq = try await start(of: turn) else { return false }
    return seq != turn.terminalSeq
  }

  /// The event with which a turn began to be answered, or ended without that; nil where it waits.
  private func start(of turn: Execution) async throws -> Int64? {
    var cursor = turn.firstSeq - 1
    while true {
      let page = try await services.store.eventsWithoutPieces(turn.sessionID, after: cursor, limit: 200)
      for event in page where event.executionID == turn.id {
        if case .executionStarted = event.payload { return event.seq }
        if event.payload.isTerminal { return event.seq }
      }
      guard let last = page.last else { return nil }
      cursor = last.seq
    }
  }

  /// The event behind those with which a wait was answered.
  private func endOfOutputs(behind wait: Int64, _ turn: Execution) async throws -> Int64? {
    var cursor = wait
    while true {
      let page = try await services.store.eventsWithoutPieces(turn.sessionID, after: cursor, limit: 20)
      for event in page where event.executionID == turn.id {
        if case .executionResumed(_, let messages) = event.payload { return event.seq + Int64(messages) + 1 }
      }
      guard let last = page.last else { return nil }
      cursor = last.seq
    }
  }

  /// All of a conversation.
  /// - Throws: `CentaurError` with `conversationNotFound`
  public func items(ofConversation id: String, owner: Owner) async throws -> ListedConversation {
    _ = try await conversation(owner: owner, id: id)
    let session = try await services.store.session(owner: owner, key: Self.key(ofConversation: id))
    return ListedConversation(
      services.store, session: session?.id, conversation: id,
      waiting: try await services.store.waitingItems(id, takenBy: session?.id))
  }

  /// Shows an item of a conversation no more. What the agent was told it still knows.
  /// - Throws: `CentaurError` with `conversationNotFound`
  public func hideItem(_ item: String, ofConversation id: String, owner: Owner) async throws {
    _ = try await conversation(owner: owner, id: id)
    try await services.store.hideItem(item, of: id)
  }
}
