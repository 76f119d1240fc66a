/// One entry of a session's log: what happened, in the order in which it was committed.
public struct SessionEvent: Sendable, Hashable {
  /// Dense within a session: 1, 2, 3 …, given in the commit. A reader can tell that it missed nothing.
  public let seq: Int64
  public let sessionID: SessionID
  /// The turn that it belongs to. A background command's items may come after that turn's terminal event.
  public let executionID: ExecutionID?
  public let payload: EventPayload
  public let createdAt: Timestamp
  public let source: EventSource?

  public init(
    seq: Int64, sessionID: SessionID, executionID: ExecutionID?, payload: EventPayload, createdAt: Timestamp,
    source: EventSource? = nil
  ) {
    self.seq = seq
    self.sessionID = sessionID
    self.executionID = executionID
    self.payload = payload
    self.createdAt = createdAt
    self.source = source
  }
}

/// The harness line that an event came from: after a crash, what is already stored is skipped by it.
public struct EventSource: Sendable, Hashable, Comparable {
  /// The offset of the line's first byte in the harness's whole output (the spool), in bytes.
  public var offset: Int64
  /// Which of the line's events, from 0.
  public var index: Int

  public init(offset: Int64, index: Int) {
    self.offset = offset
    self.index = index
  }

  public static func < (left: EventSource, right: EventSource) -> Bool {
    (left.offset, left.index) < (right.offset, right.index)
  }
}

/// An event that is not yet in the log: no `seq`, no time.
public struct EventDraft: Sendable, Hashable {
  public var executionID: ExecutionID?
  public var payload: EventPayload
  public var source: EventSource?

  public init(_ payload: EventPayload, execution: ExecutionID? = nil, source: EventSource? = nil) {
    self.executionID = execution
    self.payload = payload
    self.source = source
  }
}

/// What an event says. `kind` is its name in the log and in the session API.
public enum EventPayload: Sendable, Hashable {
  case sessionCreated(SessionCreated)
  /// The conversation goes on from an earlier point: nothing after `toSeq` counts as history.
  case sessionRewound(toSeq: Int64)
  /// The session began as a copy of another one's conversation up to `atSeq`.
  case sessionForked(from: ThreadKey, atSeq: Int64)
  case sessionArchived
  case messageAppended(Message)
  case executionQueued(TurnOptions)
  /// The harness has been given the turn; `model` is the one that runs. `instructions`: what the agent is told with it,
  /// where that is not what `TurnOptions.instructions` says (`told`).
  case executionStarted(model: String, instructions: String? = nil)
  /// Tools of the client must answer before the turn goes on. These calls are all that wait; `TurnUsage` is the turn's so
  /// far, as far as its harness has told it.
  case executionWaiting([ClientCall], TurnUsage)
  /// A client's tools have answered. The `messageAppended` right behind it, as many as `messages` says, are what the user
  /// said beside that. Where others still wait, an `executionWaiting` follows.
  case executionResumed([ToolOutput], messages: Int)
  case executionCompleted(TurnUsage)
  case executionFailed(ExecutionFailure, TurnUsage)
  case executionCancelled(reason: String, TurnUsage)
  case itemStarted(Item)
  case itemDelta(ItemDelta)
  case itemCompleted(Item)
  /// One model call's tokens, and the turn's so far.
  case usageUpdated(call: Usage, turn: TurnUsage)
  case sandboxReady(SandboxReady)
  case sandboxReattached(id: String)
  case sandboxLost(id: String, reason: String)
  case sandboxStopped(id: String, reason: String)
  /// What was ignored or could not be honoured.
  case warning(code: String, message: String)
  /// A kind that this version does not know: written by a newer one, kept as it is.
  case unrecognized(kind: String, JSONValue)

  /// What the event makes of its session's status; nil where it leaves it as it is. Whoever uses an archived session
  /// brings it back.
  public var sessionStatus: Session.Status? {
    switch self {
    case .sessionArchived: .archived
    case .messageAppended, .executionQueued: .active
    default: nil
    }
  }

  /// The instructions that the agent is told with a turn.
  /// - Parameters:
  ///   - noted: what `executionStarted` says of them; empty: none are told
  ///   - own: those that the turn brings
  public static func told(_ noted: String?, _ own: String?) -> String? {
    let told = noted ?? own
    return told == "" ? nil : told
  }

  /// The code of the warning that the files of an archived session were removed.
  public static let filesRemovedCode = "files_removed"

  /// The code of the warning that a conversation which was taken back in its client goes on from where it is.
  public static let notRewoundCode = "conversation_not_rewound"

  /// The code of the warning that a session which branches off has a workspace of its own.
  public static let workspaceNotForkedCode = "workspace_not_forked"

  /// The code of the warning that fields of a request have no effect.
  public static let notHonouredCode = "not_honoured"

  /// The code of the warning that a turn's answer is not what its client's schema asks for.
  public static let answerMisfitCode = "answer_misfit"

  /// Codes of warnings by which a client learns that it did not get what it asked for. The others tell how the turn went.
  public static let codesForClients: Set<String> = [
    notHonouredCode, answerMisfitCode, "model_not_available", "input_not_supported", "tools_not_offered",
    "service_tier_not_supported", "effort_not_supported", "summary_not_supported",
  ]

  /// Whether the event ends its execution.
  public var isTerminal: Bool {
    switch self {
    case .executionCompleted, .executionFailed, .executionCancelled: true
    default: false
    }
  }
}

public struct SessionCreated: Sendable, Hashable {
  public var harness: HarnessName
  public var persona: String?
  /// Which ingress it came by: `responses`, `messages`, `session_api`.
  public var origin: String
  /// Instructions that the client's first request gave. A later turn may bring others (`TurnOptions.instructions`).
  public var instructions: String?

  public init(harness: HarnessName, persona: String? = nil, origin: String, instructions: String? = nil) {
    self.harness = harness
    self.persona = persona
    self.origin = origin
    self.instructions = instructions
  }
}

/// What a turn asks of the harness beside its input, and what its client says of it.
public struct TurnOptions: Sendable, Hashable, Codable {
  /// The model that the client named.
  public var requestedModel: String?
  /// `minimal`, `low`, `medium`, `high` …, passed on as it is.
  public var effort: String?
  /// How the model is to summarise its reasoning: `concise`, `detailed`; nil leaves it to the model.
  public var summary: String?
  /// The provider's tier for this turn (`flex`, `priority`); nil for its usual one.
  public var serviceTier: String?
  /// Tokens that the turn's model calls may write together. Between two calls a turn that is over it is ended.
  public var maxOutputTokens: Int?
  /// Calls of the agent's own tools that the turn may make. One that begins another is ended.
  public var maxToolCalls: Int?
  /// A JSON schema that the final answer is to follow.
  public var outputSchema: JSONValue?
  /// Which of a client's conversations this turn is in; several may be led in one session.
  public var conversation: String?
  /// How many messages of that conversation came before this turn's input by the client's own telling; nil where it does
  /// not tell. Fewer than at the turn before: the client's user went back in the conversation.
  public var messagesBefore: Int?
  /// Why a turn is cancelled that has written more than `maxOutputTokens`.
  public static let outputLimitReason = "max_output_tokens"
  /// Why a turn is cancelled that has begun more calls than `maxToolCalls`.
  public static let callLimitReason = "max_tool_calls"
  /// Why a turn is cancelled that has come to a limit of its own request's.
  public static let limitReasons: Set<String> = [outputLimitReason, callLimitReason]

  /// Messages of the session API wait for an `execute`, and this turn is none: it leaves them waiting.
  public var leavesPending = false
  /// Functions of the client that the agent may call.
  public var tools: [ClientTool] = []
  /// The client's instructions under which the turn is to run; nil: those that hold when it begins. The agent is told
  /// these with it where they are other ones than it was told last by then.
  public var instructions: String?
  /// How many of the turn's messages, the first ones, were said beside the session's turns: they go to the next turn
  /// where this one ends before it begins.
  public var passesOn = 0

  public init(
    requestedModel: String? = nil, effort: String? = nil, outputSchema: JSONValue? = nil,
    conversation: String? = nil, messagesBefore: Int? = nil
  ) {
    self.requestedModel = requestedModel
    self.effort = effort
    self.outputSchema = outputSchema == .null ? nil : outputSchema
    self.conversation = conversation
    self.messagesBefore = messagesBefore
  }
}

/// Why a turn failed: a `CentaurError.Code`'s raw value, and a sentence for the user.
public struct ExecutionFailure: Sendable, Hashable {
  public var code: String
  public var message: String
  public init(code: String, message: String) {
    self.code = code
    self.message = message
  }
  public init(_ error: CentaurError) { self.init(code: error.code.rawValue, message: error.message) }
}

public struct SandboxReady: Sendable, Hashable {
  public enum Origin: String, Sendable, Hashable {
    case warm
    case cold
    case resumed
  }
  public var id: String
  /// `process`, `bubblewrap`, …
  public var backend: String
  public var origin: Origin
  /// From the wish for a sandbox to a harness that takes input.
  public var duration: Duration
  public init(id: String, backend: String, origin: Origin, duration: Duration) {
    self.id = id
    self.backend = backend
    self.origin = origin
    self.duration = duration
  }
}
