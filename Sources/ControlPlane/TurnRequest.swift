public import SessionModel

/// What an ingress asks of the control plane: one turn's worth of a client's request, in no dialect.
///
/// The ingress has classified the request (a side request never gets here) and read its input; whether the input is
/// new, was taken, or adds to a running turn is decided against the session (`Reconciliation`).
public struct TurnRequest: Sendable {
  /// Which session the request names.
  public enum SessionChoice: Sendable, Hashable {
    case key(ThreadKey)
    /// The session of an earlier answer, by that answer's wire id.
    case continuing(replyID: String)
    /// That of a conversation that the client opened by name.
    case conversation(String)
    /// That of a compacted conversation, by its item's opaque name; `parameter` is where the request has it.
    case compacted(String, parameter: String)
    /// None: a session of its own under a new `api:` key.
    case fresh
  }

  /// How the client treats a turn that is still running when it asks for another.
  public enum ClientKind: Sendable, Hashable {
    /// A person at a CLI: a different input means that they stopped waiting.
    case cli
    /// A program: its requests wait for one another.
    case sdk
  }

  /// What to do with a new input while a turn runs.
  public enum BusyPolicy: String, Sendable, Hashable, CaseIterable {
    case supersede
    case queue
    case steer
    case reject
  }

  /// Where a client's conversation was copied from.
  public struct Fork: Sendable, Hashable {
    /// The session it was forked from, as the client names it.
    public var parent: ThreadKey
    public var point: Point

    /// Up to where the parent's history counts.
    public enum Point: Sendable, Hashable {
      /// The last of our items that the copied history still holds: their wire ids, oldest first.
      case heldItems([String])
      /// The end of a turn, or the event with which it began to wait for its client's tools.
      case turn(ExecutionID, waiting: Int64?)
    }

    public init(parent: ThreadKey, heldItemIDs: [String]) {
      self.parent = parent
      point = .heldItems(heldItemIDs)
    }

    public init(parent: ThreadKey, turn: ExecutionID, waiting: Int64? = nil) {
      self.parent = parent
      point = .turn(turn, waiting: waiting)
    }
  }

  /// An item that a client sends back, under an id that may be ours.
  public struct HeldItem: Sendable {
    public var id: String
    /// What the client's history has behind it.
    public var saidSince: @Sendable () -> [Message]
    public init(id: String, saidSince: @escaping @Sendable () -> [Message]) {
      self.id = id
      self.saidSince = saidSince
    }
  }

  public var owner: Owner
  /// Of the key that it came with; nil: any number of turns.
  var allowance: TurnAllowance?
  public var session: SessionChoice
  public var client: ClientKind
  /// What the client calls this turn, the same in each retry (`codex:<turn_id>`, `key:<Idempotency-Key>`).
  public var turnKey: String?
  /// The request as its client sent it, and would send it again; nil: it is not known again by that.
  public var sent: SentRequest?
  /// By what its answer is found, where it is sent again (`RepeatedRequest`).
  var name: RequestName?
  /// What the user said in this request, oldest first. Messages that the session took before may be among them. Empty
  /// where the client only wants the running turn, or the last one, told on (`continues`).
  public var input: [Message]
  /// What the client's tools said, of the turn that waits for it. What the user says beside it goes to the same turn.
  public var outputs: [ToolOutput] = []
  /// The input is one message in pieces, each with an id by which it is known again: a session that is new to us runs
  /// all of them, and the log has them as one.
  public var isOneMessage: Bool
  /// The client has no input of its own and asks for what it missed.
  public var continues: Bool
  /// The client repeats a failed turn only when its user asks again: then it is run anew. A completed one is shown.
  public var repeatsFailedTurns: Bool
  /// The user says what they said last once more, and this is the last text that their client holds of the answer. Where
  /// the answer went on behind it, the connection broke, and the user asks for the rest.
  public var heldAnswer: String?
  /// The client's own mark that its user interrupted the turn before.
  public var abortsRunningTurn: Bool
  /// The conversation before `input` as the client tells it, read only when a session is to be seeded with it.
  public var history: @Sendable () -> [Message]
  public var hasHistory: Bool
  /// Items of the history that have ids of the form in which this server gives them, oldest first; the newest are enough.
  public var heldItems: [HeldItem] = []
  public var fork: Fork?
  /// What was said before the input beside the session's turns, which the agent is to be told with it.
  var preface: [Message] = []
  /// The session's turn that the client goes on from; another one than the newest branches off.
  var head: Execution?
  /// The client goes on from where that turn began to wait for its tools, and the turn has gone on behind it.
  var headWaiting: Int64?
  /// The turn that waits for the client's tools ends for this one.
  var takesOver = false
  /// For a session that does not exist yet; nil where the client has no wish. For an existing session a different wish
  /// is a conflict.
  public var harness: HarnessName?
  public var persona: String?
  /// What the client instructs the agent. Nil: what the session has, where it is there.
  public var instructions: String?
  /// They stand beside what was said, and are an addition where the session has instructions.
  public var addsInstructions = false
  /// `responses`, `messages`, `session_api`.
  public var origin: String
  public var options: TurnOptions
  /// Overrides what `client` implies.
  public var busy: BusyPolicy?
  /// Whether the turn ends when its client goes away.
  public var cancelsOnDisconnect: Bool
  /// The first part of the answer's wire id (`resp`, `msg`), and what the ingress's fold needs to build it again.
  public var replyPrefix: String
  public var echo: JSONValue
  /// An answer that was not kept may be gone on from: whoever asks has it at hand.
  public var continuesUnkept = false
  /// Whether the answer may be asked for by its id later.
  public var keepsReply = true

  /// What of the request no harness can be asked for, in a sentence for the log.
  public var notHonoured: String?

  /// Where its client names neither turn nor messages but by an `Idempotency-Key`: how it is known again once it has
  /// steered a turn.
  var steerKey: String? {
    guard let turnKey, !input.isEmpty, input.allSatisfy({ $0.clientID == nil }) else { return nil }
    return "steer:\(turnKey)"
  }

  /// The input as the log has it: pieces of one message are that message, and notes are beside it.
  func asSaid(_ input: [Message]) -> [Message] {
    let said = input.filter { !$0.isNote }
    guard isOneMessage, !said.isEmpty else { return input }
    return input.filter(\.isNote) + [Message(parts: said.flatMap(\.parts), clientID: input.last?.clientID)]
  }

  public init(
    owner: Owner, session: SessionChoice, client: ClientKind, turnKey: String? = nil, input: [Message],
    outputs: [ToolOutput] = [],
    isOneMessage: Bool = false, continues: Bool = false, repeatsFailedTurns: Bool = false,
    heldAnswer: String? = nil, abortsRunningTurn: Bool = false, hasHistory: Bool = false,
    history: @escaping @Sendable () -> [Message] = { [] }, fork: Fork? = nil, harness: HarnessName? = nil,
    persona: String? = nil, instructions: String? = nil,
    origin: String, options: TurnOptions = TurnOptions(), busy: BusyPolicy? = nil, cancelsOnDisconnect: Bool = false,
    replyPrefix: String, echo: JSONValue
  ) {
    self.owner = owner
    self.session = session
    self.client = client
    self.turnKey = turnKey
    self.input = input
    self.outputs = outputs
    self.isOneMessage = isOneMessage
    self.continues = continues
    self.repeatsFailedTurns = repeatsFailedTurns
    self.heldAnswer = heldAnswer
    self.abortsRunningTurn = abortsRunningTurn
    self.hasHistory = hasHistory
    self.history = history
    self.fork = fork
    self.harness = harness
    self.persona = persona
    self.instructions = instructions
    self.origin = origin
    self.options = options
    self.busy = busy
    self.cancelsOnDisconnect = cancelsOnDisconnect
    self.replyPrefix = replyPrefix
    self.echo = echo
  }
}
