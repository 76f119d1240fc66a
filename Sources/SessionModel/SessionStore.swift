/// The durable home of sessions: one append-only log each, and the projections that make look-ups cheap.
///
/// Everything that changes goes through `commit`: one session, one atomic step, fenced by its lease. Implementations
/// gather the commits of many sessions into one transaction of the database; each still succeeds or fails alone.
/// When `commit` returns the events are durable, to the degree that the implementation documents.
///
/// All methods throw `CentaurError` with `storeUnavailable` when the database refuses, `storeCorrupt` when what it
/// holds cannot be read.
public protocol SessionStore: ConversationStore, NamedAnswerStore {
  /// Applies one step.
  /// - Throws: `CentaurError` with `leaseLost` when the token is not the newest, `conflict` codes where a unique key
  ///   is taken (`StoreConflict` says which). Nothing is written then.
  func commit(_ commit: SessionCommit) async throws -> CommitResult

  func session(_ id: SessionID) async throws -> Session?
  func session(owner: Owner, key: ThreadKey) async throws -> Session?
  /// Sessions of an owner, newest first, that were created before the one with id `before`; none where that is not a
  /// session of this owner's.
  func sessions(owner: Owner, before: SessionID?, limit: Int) async throws -> [Session]

  /// Events with `seq` greater than `after`, in order: at most `limit`, and fewer where they are large. None: there are
  /// no more.
  func events(_ session: SessionID, after: Int64, limit: Int) async throws -> [SessionEvent]

  /// The same without the pieces of turns (`SessionEvent.piecesOfTurns`): what was said, and how turns went.
  func eventsWithoutPieces(_ session: SessionID, after: Int64, limit: Int) async throws -> [SessionEvent]

  /// What was said (`SessionEvent.kindsOfConversation`) between two events, without these, from the oldest on or from the
  /// newest back: at most `limit` events, and fewer where they are large.
  func conversation(
    _ session: SessionID, after: Int64, before: Int64, newestFirst: Bool, limit: Int
  ) async throws -> [SessionEvent]

  /// The newest event before one that may have brought instructions (`session.created`, `execution.queued`,
  /// `execution.started`, `execution.resumed`). Costs one look, however long the session.
  func eventWithInstructions(_ session: SessionID, before: Int64) async throws -> SessionEvent?

  func execution(_ id: ExecutionID) async throws -> Execution?
  func execution(_ session: SessionID, turnKey: String) async throws -> Execution?
  /// The turn that a conversation ends with, by the digest of all that was said in it: the newest turn of a session, where
  /// one session has such a newest turn, else one that its session has gone on behind. Nil where the owner has none, or
  /// where several sessions have one alike.
  func execution(owner: Owner, historyDigest: String) async throws -> Execution?
  /// How a session took messages of these client ids, for each of the ids that is known.
  func takers(_ session: SessionID, clientIDs: [String]) async throws -> [String: TakenInput]
  /// Turns of a session that have no terminal event yet, oldest first.
  func openExecutions(_ session: SessionID) async throws -> [Execution]
  /// Turns of a session behind one, oldest first.
  func executions(_ session: SessionID, after ordinal: Int, limit: Int) async throws -> [Execution]
  /// Whether a turn of the session that is newer than this one was answered, or is yet to be: then a conversation that
  /// goes on from this one branches off. Turns that failed or were cancelled are not looked at.
  func isFollowed(_ execution: Execution) async throws -> Bool
  /// The newest turn of a session before one of this ordinal that was answered.
  func newestAnswered(_ session: SessionID, before ordinal: Int) async throws -> Execution?
  /// The newest turn of a session.
  func newestExecution(_ session: SessionID) async throws -> Execution?
  /// Sessions that have a turn without a terminal event: what a server must look after when nobody else does.
  func sessionsWithOpenExecutions() async throws -> [SessionID]

  /// What a next server needs to go on with the session's harness.
  func harnessJournal(_ session: SessionID) async throws -> HarnessJournal

  /// Not one that was not kept, or is forgotten.
  func reply(owner: Owner, wireID: String) async throws -> Reply?
  /// Also one that was not kept, but not one that is forgotten.
  func replyOrUnkept(owner: Owner, wireID: String) async throws -> Reply?
  /// An execution's replies, oldest first: one, and one more for each time that it was steered. Those that are not kept
  /// are among them: their turn is there.
  func replies(_ execution: ExecutionID) async throws -> [Reply]

  /// Makes `holder` the only one that may commit to the session, if no other holder's lease is still running.
  /// - Parameters:
  ///   - now: leases that end before it have run out.
  ///   - isDead: whether a holder is known to have ended: its lease is taken though it runs.
  /// - Throws: `CentaurError` with `sessionElsewhere` when another holds it.
  func acquireLease(
    _ session: SessionID, holder: String, now: Timestamp, until: Timestamp,
    _ isDead: @escaping @Sendable (String) -> Bool
  ) async throws -> FencingToken
  /// Prolongs a holder's leases on the sessions that it still looks after. Others run out: one that could not be given
  /// back is nobody's in a while.
  /// - Returns: those of the sessions that it holds, with its rights to write to them
  @discardableResult
  func renewLeases(
    of sessions: [SessionID], holder: String, until: Timestamp
  ) async throws -> [SessionID: FencingToken]
  /// Gives one lease back.
  func releaseLease(_ session: SessionID, token: FencingToken) async throws
}

extension SessionEvent {
  /// Kinds of which a long turn has very many, and which add nothing to what its other events say.
  public static let piecesOfTurns = ["item.started", "item.delta", "usage.updated"]

  /// Kinds that hold what was said. Stores have an index of these: a list of them is newer than the index that it needs.
  public static let kindsOfConversation = [
    "session.created", "message.appended", "item.completed", "execution.waiting", "execution.resumed",
  ]
}

/// How a session took a client's message.
public struct TakenInput: Sendable, Hashable {
  /// The turn that took it; nil for seeded history, and for a message that waits for an `execute`.
  public var execution: ExecutionID?
  /// Its `message.appended`; 0 where it has none.
  public var seq: Int64
  public init(execution: ExecutionID?, seq: Int64) {
    self.execution = execution
    self.seq = seq
  }
}

/// The right to write to one session. Only a store makes one.
public struct FencingToken: Sendable, Hashable, Comparable {
  /// Rises by one with each change of holder.
  public let epoch: Int64
  package init(epoch: Int64) { self.epoch = epoch }
  public static func < (left: FencingToken, right: FencingToken) -> Bool { left.epoch < right.epoch }
}

/// One atomic step of one session.
public struct SessionCommit: Sendable {
  /// Creates the session with this step; the lease goes to `holder`.
  public struct Creation: Sendable {
    public var session: Session
    public var holder: String
    public var leaseUntil: Timestamp
    public init(session: Session, holder: String, leaseUntil: Timestamp) {
      self.session = session
      self.holder = holder
      self.leaseUntil = leaseUntil
    }
  }

  public var session: SessionID
  public var creation: Creation?
  /// The writer's right; required unless the step creates the session.
  public var token: FencingToken?
  /// The time that the events of this step carry.
  public var time: Timestamp
  public var events: [EventDraft]
  /// Turn keys of executions that an `execution.queued` event of this step begins.
  public var turnKeys: [ExecutionID: String]
  /// Client message ids that this step takes, with the turn that takes them (nil: no turn, seeded history).
  public var takes: [String: ExecutionID?]
  /// Client message ids that were taken before and that another turn takes now: their first turn failed, and the user
  /// asks again.
  public var retakes: [String: ExecutionID]
  /// Executions that end with this step and were never run: their turn keys, the names of their requests and the client
  /// message ids that they took are free again.
  public var releases: [ExecutionID]
  public var replies: [Reply]
  /// Wire ids of replies that nobody is to find again.
  public var forgets: [String]
  /// What was said so far, as one value: of the turn that is answered with this step, or of the history that a session
  /// begins with.
  public var historyDigest: HistoryDigestChange?
  /// The client's instructions that the agent is told with this step.
  public var instructions: String?
  /// Replaces the adapter's state; null: there is none any more.
  public var harnessState: JSONValue?
  /// In order.
  public var harnessJournal: [HarnessJournalChange]

  public init(
    session: SessionID, creation: Creation? = nil, token: FencingToken?, time: Timestamp, events: [EventDraft] = [],
    turnKeys: [ExecutionID: String] = [:], takes: [String: ExecutionID?] = [:], retakes: [String: ExecutionID] = [:],
    releases: [ExecutionID] = [], replies: [Reply] = [], forgets: [String] = [],
    historyDigest: HistoryDigestChange? = nil, instructions: String? = nil,
    harnessState: JSONValue? = nil,
    harnessJournal: [HarnessJournalChange] = []
  ) {
    self.session = session
    self.creation = creation
    self.token = token
    self.time = time
    self.events = events
    self.turnKeys = turnKeys
    self.takes = takes
    self.retakes = retakes
    self.releases = releases
    self.replies = replies
    self.forgets = forgets
    self.historyDigest = historyDigest
    self.instructions = instructions
    self.harnessState = harnessState
    self.harnessJournal = harnessJournal
  }
}

/// The digest of what was said in a session.
public struct HistoryDigestChange: Sendable, Hashable {
  public var value: String
  /// The turn that it ends with; nil for what was said before there was one.
  public var execution: ExecutionID?
  public init(value: String, execution: ExecutionID?) {
    self.value = value
    self.execution = execution
  }
}

/// What becomes of a session's harness journal. The entries' form is their writer's.
public enum HarnessJournalChange: Sendable, Hashable {
  /// The entry takes the place of all that was there.
  case restart([UInt8])
  case append([UInt8])
  /// The harness is of no more use, and so are its entries.
  case clear
}

/// What was given to a session's harness that its output does not tell, and how far its output is in the log. After a
/// server's death the next one rebuilds from it where the harness stands.
public struct HarnessJournal: Sendable, Hashable {
  /// The oldest first.
  public var entries: [[UInt8]]
  /// The newest harness line whose events the log holds, since the session's newest `sandbox.ready`.
  public var newestSource: EventSource?
  public init(entries: [[UInt8]] = [], newestSource: EventSource? = nil) {
    self.entries = entries
    self.newestSource = newestSource
  }
}

public struct CommitResult: Sendable {
  /// The step's events as they are in the log now.
  public var events: [SessionEvent]
  public var token: FencingToken
  public init(events: [SessionEvent], token: FencingToken) {
    self.events = events
    self.token = token
  }
}

/// Which unique key a commit ran into. Nothing of the commit was written.
public enum StoreConflict: Error, Sendable, Hashable {
  /// The owner has a session of this thread key.
  case threadKey
  /// The session has an execution of this turn key.
  case turnKey(String)
  /// The session has taken a message of this client id.
  case clientID(String)
  case wireID(String)
}
