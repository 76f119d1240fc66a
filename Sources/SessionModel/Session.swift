/// A durable session as the store knows it; its conversation is in the log.
public struct Session: Sendable, Hashable {
  public enum Status: String, Sendable, Hashable {
    case active
    case archived
  }

  public let id: SessionID
  public let owner: Owner
  public let key: ThreadKey
  public let harness: HarnessName
  public let persona: String?
  /// The client's instructions that the agent was told last; a new harness begins with them.
  public var instructions: String?
  public let createdAt: Timestamp
  public var status: Status
  /// The log's newest `seq`; 0 for an empty log.
  public var lastSeq: Int64
  /// What the adapter needs to go on in the same conversation (Codex: the thread id).
  public var harnessState: JSONValue?
  /// Of what was said up to the newest turn that was answered; nil in a session of a version that kept none.
  public var historyDigest: String?

  public init(
    id: SessionID, owner: Owner, key: ThreadKey, harness: HarnessName, persona: String?, instructions: String?,
    createdAt: Timestamp, status: Status = .active, lastSeq: Int64 = 0, harnessState: JSONValue? = nil,
    historyDigest: String? = nil
  ) {
    self.id = id
    self.owner = owner
    self.key = key
    self.harness = harness
    self.persona = persona
    self.instructions = instructions
    self.createdAt = createdAt
    self.status = status
    self.lastSeq = lastSeq
    self.harnessState = harnessState
    self.historyDigest = historyDigest
  }
}

/// One turn as the store knows it: a projection of its `execution.*` events.
public struct Execution: Sendable, Hashable {
  public enum Status: String, Sendable, Hashable {
    case queued
    case running
    case waiting
    case completed
    case failed
    case cancelled

    public var isTerminal: Bool { self == .completed || self == .failed || self == .cancelled }
  }

  public let id: ExecutionID
  public let sessionID: SessionID
  /// The turn's place in its session, from 1.
  public let ordinal: Int
  /// What a repeated request is known by, unique within the session.
  public let turnKey: String?
  public var status: Status
  public var options: TurnOptions
  /// The `seq` of the turn's first event.
  public var firstSeq: Int64
  /// The `seq` of its terminal event, once there is one.
  public var terminalSeq: Int64?
  public let createdAt: Timestamp

  public init(
    id: ExecutionID, sessionID: SessionID, ordinal: Int, turnKey: String?, status: Status, options: TurnOptions,
    firstSeq: Int64, terminalSeq: Int64? = nil, createdAt: Timestamp
  ) {
    self.id = id
    self.sessionID = sessionID
    self.ordinal = ordinal
    self.turnKey = turnKey
    self.status = status
    self.options = options
    self.firstSeq = firstSeq
    self.terminalSeq = terminalSeq
    self.createdAt = createdAt
  }
}

/// One answer on the wire: which execution it shows, and what the wire format must echo.
///
/// A steered turn has several: each starts at the execution's first event and leaves out what its client already has. So
/// has a turn that waits for its client's tools: each shows what comes between two waits.
public struct Reply: Sendable, Hashable {
  /// The id that the client knows (`resp_<execution>_<n>`).
  public let wireID: String
  public let owner: Owner
  public let sessionID: SessionID
  public let executionID: ExecutionID
  /// The ingress's own notes for the fold (model asked for, omitted items, …); nobody else reads them.
  public let echo: JSONValue
  public let createdAt: Timestamp
  /// It may be asked for by its id later. Where not, the turn is in the log none the less.
  public let isKept: Bool
  /// The `execution.waiting` behind which it begins: what came up to there was shown by an earlier one. 0: it begins with
  /// the execution.
  public let afterSeq: Int64
  /// By what its request is known again; nil: by nothing that it says as a whole.
  public let request: RequestName?

  public init(
    wireID: String, owner: Owner, sessionID: SessionID, executionID: ExecutionID, echo: JSONValue, createdAt: Timestamp,
    isKept: Bool = true, afterSeq: Int64 = 0, request: RequestName? = nil
  ) {
    self.wireID = wireID
    self.owner = owner
    self.sessionID = sessionID
    self.executionID = executionID
    self.echo = echo
    self.createdAt = createdAt
    self.isKept = isKept
    self.afterSeq = afterSeq
    self.request = request
  }
}
