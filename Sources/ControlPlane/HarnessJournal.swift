import FoundationEssentials
import Harness
import SessionModel

/// One entry of a session's harness journal: a snapshot of the harness's state machine, or an input that it was given
/// since and that is not a line of the harness's output.
///
/// The journal and the shim's spool together say all that the machine has seen: the next server restores the snapshot,
/// reads the spool from its offset on, and gives the machine each input where it came (`HarnessReplay`).
enum HarnessJournalEntry: Sendable, Codable {
  case snapshot(HarnessSnapshot)
  /// - offset: of the first byte of the harness's output that the machine had not read when the input came
  case input(HarnessInput, offset: Int64)

  var bytes: [UInt8] { get throws { [UInt8](try JSONEncoder().encode(self)) } }

  /// - Throws: `DecodingError` where another version wrote the entry
  init(bytes: [UInt8]) throws { self = try JSONDecoder().decode(Self.self, from: Data(bytes)) }
}

/// What a machine is given that its harness did not print.
enum HarnessInput: Sendable, Codable {
  /// A turn; what was said is in the log.
  case begin(ExecutionID, model: String)
  /// - failure: why the turn ends, where it is not as cancelled
  case interrupt(reason: String, failure: CentaurError?)
  case steer(id: String, PendingSteer)
  /// What a client's tool said.
  case answer(ToolOutput)
  /// Not for the machine: what the harness answered to a steering message has been carried out.
  case steerAnswered(id: String)
  case timer(HarnessTimer)
}

/// A harness between two inputs.
struct HarnessSnapshot: Sendable, Codable {
  /// Of this form and of the machines'. Raised when an older server could take what is saved for something else.
  static let currentVersion = 1

  var version = HarnessSnapshot.currentVersion
  /// The id of its sandbox.
  var sandbox: String
  /// Of the first byte of its output that the machine has not read.
  var offset: Int64
  /// `HarnessMachine.saved`
  var machine: Data
  /// The turn that runs.
  var execution: ExecutionID?
  /// Why that turn ends, where the harness will not know.
  var failure: CentaurError?
  /// Whether it was told to end. Absent in a journal of a version that did not say.
  var isInterrupted: Bool?
  /// Bytes that it has added to the log.
  var output: Int
  /// What was on its way to the harness.
  var frames: [InputFrame]
  /// Steering messages that it has not answered, by the ids under which they were sent.
  var steers: [String: PendingSteer]
  /// Steering messages that it has answered, which is not carried out yet.
  var answers: [SteerAnswer]
  /// The machine's timers that run, with their whole lengths.
  var timers: [HarnessTimer: Duration]

  struct SteerAnswer: Sendable, Codable {
    var id: String
    var isTaken: Bool
  }
}

/// Input for a harness; its shim takes each id once.
struct InputFrame: Sendable, Codable {
  var id: String
  var bytes: Data
  var closesInput = false
}

extension HarnessAction {
  /// The input that it is, if it is one.
  var frame: InputFrame? {
    switch self {
    case .send(let id, let bytes): InputFrame(id: id, bytes: Data(bytes))
    case .closeInput(let id): InputFrame(id: id, bytes: Data(), closesInput: true)
    default: nil
    }
  }
}

/// A steering message that the harness has been sent and has not answered, with what its request asked for: it may
/// become a turn of its own.
struct PendingSteer: Sendable, Codable {
  /// Tells which was said first.
  var number: Int
  /// What the request says that is new to the session.
  var input: [Message]
  /// All that the request says.
  var said: [Message]
  var execution: ExecutionID
  var turnKey: String?
  var isOneMessage: Bool
  var options: TurnOptions
  var origin: String
  var replyPrefix: String
  var echo: JSONValue
  /// Absent in a journal of a version that kept every reply.
  var keepsReply: Bool?
  /// By what the request is known again.
  var name: RequestName?

  init(number: Int, input: [Message], of request: TurnRequest, to execution: ExecutionID) {
    self.number = number
    self.input = input
    said = request.input
    self.execution = execution
    turnKey = request.turnKey
    isOneMessage = request.isOneMessage
    options = request.options
    origin = request.origin
    replyPrefix = request.replyPrefix
    echo = request.echo
    keepsReply = request.keepsReply
    name = request.name
  }

  /// As the harness is told it.
  var message: Message { Message(parts: input.flatMap(\.parts), clientID: input.last?.clientID) }

  /// The request, as far as an open session needs to know it.
  func request(of owner: Owner, _ key: ThreadKey) -> TurnRequest {
    var request = TurnRequest(
      owner: owner, session: .key(key), client: .cli, turnKey: turnKey, input: said, isOneMessage: isOneMessage,
      origin: origin, options: options, replyPrefix: replyPrefix, echo: echo)
    request.keepsReply = keepsReply ?? true
    request.name = name
    return request
  }
}
