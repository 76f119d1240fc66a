public import SessionModel

/// A harness's protocol as a pure state machine: what the harness prints and what the session wants go in, events and
/// input frames come out. No clock, no I/O, no randomness: the same inputs always give the same actions, so a
/// recorded transcript is a test and a spool can be read again after a crash.
///
/// The drive loop (ControlPlane) owns one machine for each running harness process and carries out its actions, in
/// order. It calls `begin` only after `ready`, and never while a turn runs.
///
/// A machine can be saved and restored at any point between two inputs (`Codable`): the server that goes on with a
/// harness is another than the one that started it. What it holds must not grow with the harness's life.
public protocol HarnessMachine: Sendable, Codable {
  /// The process runs: start the handshake.
  mutating func launched() -> [HarnessAction]
  /// The process runs, and its session is not known yet: do what can be done without it, up to a `ready`. Nothing that
  /// it emits or saves until `claimed` is kept.
  mutating func launchedWithoutSession() -> [HarnessAction]
  /// The session has come, after the `ready` of `launchedWithoutSession`. As after `launched`, turns may begin at the
  /// next `ready`.
  mutating func claimed(by context: HarnessContext) -> [HarnessAction]
  /// Whether the process, as it was started, can run such a turn. Where it cannot, another is started for it.
  func serves(_ turn: TurnWishes) -> Bool
  /// Give the harness a turn.
  mutating func begin(_ turn: HarnessTurn) -> [HarnessAction]
  /// Add to the running turn. Answered by `steered` or `steerRejected`, at once or after lines to come.
  mutating func steer(_ message: Message, inputID: String) -> [HarnessAction]
  /// A client's tool has answered a call that the running turn waits for. Emits nothing; what is not waited for changes
  /// nothing.
  mutating func answer(_ output: ToolOutput) -> [HarnessAction]
  /// End the running turn as cancelled, and everything that it started. Ends in one `turnEnded`, whatever the harness
  /// answers. Without a running turn nothing happens.
  mutating func interrupt(reason: String) -> [HarnessAction]
  /// The harness printed a line (without its newline).
  mutating func read(_ line: HarnessLine) -> [HarnessAction]
  /// A timer that the machine started has run out.
  mutating func timerFired(_ timer: HarnessTimer) -> [HarnessAction]
  /// The process is gone: close what is open, fail what runs (`harness_start_failed` before `ready`, else
  /// `harness_died`).
  mutating func exited(_ exit: HarnessExit) -> [HarnessAction]
}

extension HarnessMachine {
  /// For those that do not wait for sessions.
  public mutating func launchedWithoutSession() -> [HarnessAction] { [.stop] }
  public mutating func claimed(by context: HarnessContext) -> [HarnessAction] { [.stop] }
  /// For those that offer no tools of clients.
  public mutating func answer(_ output: ToolOutput) -> [HarnessAction] { [] }
  public func serves(_ turn: TurnWishes) -> Bool { true }
}

/// What a turn asks of its harness beside its input.
public struct TurnWishes: Sendable, Hashable, Codable {
  /// The model to run, already chosen from the harness's list.
  public var model: String
  public var options: TurnOptions

  public init(model: String, options: TurnOptions) {
    self.model = model
    self.options = options
  }
}

/// One line of a harness's standard output.
public struct HarnessLine: Sendable {
  /// Of its first byte in the whole output.
  public var offset: Int64
  public var bytes: [UInt8]
  public init(offset: Int64, bytes: [UInt8]) {
    self.offset = offset
    self.bytes = bytes
  }
}

extension HarnessLine {
  /// What it says in a protocol whose lines are JSON objects; nil for a line that is none.
  var object: JSONValue? {
    guard let message = try? JSONValue(parsing: bytes), case .object = message else { return nil }
    return message
  }

  /// What the log is told of a line that cannot be read: the first one.
  func unreadable(said: inout Bool, of execution: ExecutionID?) -> [HarnessAction] {
    guard !said else { return [] }
    said = true
    return [HarnessAction.emit(EventDraft(HarnessFailure.unreadableLine, execution: execution))].from(self)
  }
}

/// How a harness process ended.
public struct HarnessExit: Sendable, Hashable {
  /// The exit status, or nil where a signal ended it.
  public var status: Int32?
  public var signal: Int32?
  /// Why we gave it up, where it did not end by itself; a sentence without its full stop.
  public var reason: String?
  public init(status: Int32?, signal: Int32? = nil, reason: String? = nil) {
    self.status = status
    self.signal = signal
    self.reason = reason
  }

  /// How it ended, in words: `with status 1`, `by signal 9`, …
  public var description: String {
    if let reason { return "(\(reason))" }
    if let signal { return "by signal \(signal)" }
    return status.map { "with status \($0)" } ?? "without a trace"
  }
}

/// One turn, as a harness is given it.
public struct HarnessTurn: Sendable {
  public var execution: ExecutionID
  /// What the user said, oldest first; at least one message.
  public var input: [Message]
  /// The model to run, already chosen from the harness's list.
  public var model: String
  public var options: TurnOptions

  public init(execution: ExecutionID, input: [Message], model: String, options: TurnOptions = TurnOptions()) {
    self.execution = execution
    self.input = input
    self.model = model
    self.options = options
  }
}

/// A timer of a machine; starting one that runs starts it anew.
public struct HarnessTimer: Sendable, Hashable, Codable {
  public let name: String
  public init(name: String) { self.name = name }
}

/// What a machine wants done, in the order in which it says so.
public enum HarnessAction: Sendable, Hashable {
  /// Bytes for the harness's standard input, under an id that the shim takes once (`<execution>/start`).
  case send(id: String, bytes: [UInt8])
  /// The harness reads to the end of its input before it works (`codex exec`).
  case closeInput(id: String)
  /// A signal for the harness's process group.
  case signal(Int32)
  /// For the log. Events that came from a line carry its offset and their index in `source`.
  case emit(EventDraft)
  /// The handshake is done; turns may begin.
  case ready
  /// What to keep with the session so that another process can go on in the same conversation.
  case saveState(JSONValue)
  /// The execution's terminal event has been emitted before this; the machine takes the next turn.
  case turnEnded(ExecutionID)
  /// The running turn has taken the message.
  case steered(inputID: String)
  /// It came too late: the message is for a turn of its own.
  case steerRejected(inputID: String)
  case startTimer(HarnessTimer, Duration)
  case cancelTimer(HarnessTimer)
  /// The process is of no more use: end it; the next turn gets a new one.
  case stop
}
