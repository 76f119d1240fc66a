import SessionModel

/// The app-server protocol of Codex 0.163.0 as a state machine.
///
/// States: *launching* (initialize → thread/start or thread/resume → inject history) until `ready`; then *idle* or *in a
/// turn*. A turn that the harness has reported over may still be *ending*: commands that an interrupt left running are
/// cleaned up before its terminal event. Items of a background command go on under their own turn after that
/// (`lateTurns`). This file has the inputs; `CodexMachine+Notifications` what the harness reports.
struct CodexMachine: HarnessMachine {
  enum Request: Hashable, Codable {
    case initialize
    case startThread
    case resumeThread
    case injectHistory
    case startTurn(ExecutionID)
    case steer(inputID: String)
    case interrupt
    case clean
  }

  struct Turn: Codable {
    let execution: ExecutionID
    /// The harness's own id of the turn, once it has told it.
    var id: String?
    var items: TurnItems
    var usage = TurnUsage()
    /// Why the turn was interrupted by us.
    var interruptReason: String?
    var interruptSent = false
    /// How the harness says that the turn ended; set while what it left behind is cleaned up.
    var ending: Ending?
    /// The newest error that the harness does not mean to retry.
    var failure: CentaurError?
    /// The client's tools; nil where the turn has none.
    var tools: ClientToolNames?
    private var calls: ClientCalls?

    init(execution: ExecutionID) {
      self.execution = execution
      items = TurnItems(execution: execution)
    }

    /// Not there in what an older version saved.
    var clientCalls: ClientCalls {
      get { calls ?? ClientCalls() }
      set { calls = newValue }
    }
  }

  enum Ending: Hashable, Codable {
    case completed
    case interrupted
    case failed
  }

  /// Runs while the harness may end the commands that an interrupted turn left running.
  static let cleanTimer = HarnessTimer(name: "clean")

  var context: HarnessContext
  /// Nobody's session yet: its conversation is begun none the less, for one that has no instructions.
  var waitsForSession = false
  var thread: String?
  /// Why Codex did not take the client's tools, of this process or of the one that began the thread.
  var toolsRefusal: String?
  var isReady = false
  var hasExited = false
  var saidUnreadable = false
  private var nextRequest = 1
  private var requests: [Int: Request] = [:]
  var turn: Turn?
  /// What the turn before asked for.
  private var effort: String?
  private var serviceTier: String?
  /// Turns that are over, with items that are not: by the harness's id of the turn.
  var lateTurns: [String: TurnItems] = [:]
  /// The newest turns that are over for good. The harness may report a killed command after its turn's end.
  var closedTurns: [String] = []

  init(_ context: HarnessContext) { self.context = context }

  // MARK: Inputs

  mutating func launched() -> [HarnessAction] {
    let client: JSONValue = ["name": "centaur", "title": "Centaur", "version": "0.1.0"]
    let capabilities: JSONValue = [
      "experimentalApi": true,
      "optOutNotificationMethods": ["account/rateLimits/updated", "thread/readState/changed"],
    ]
    return [request(.initialize, "initialize", ["clientInfo": client, "capabilities": capabilities])]
  }

  mutating func launchedWithoutSession() -> [HarnessAction] {
    waitsForSession = true
    return launched()
  }

  mutating func claimed(by context: HarnessContext) -> [HarnessAction] {
    waitsForSession = false
    self.context = context
    guard context.instructions != nil || !context.tools.isEmpty else { return tellHistory() }
    thread = nil
    return [startThread()]
  }

  mutating func begin(_ begun: HarnessTurn) -> [HarnessAction] {
    guard let thread else { return [] }
    var turn = Turn(execution: begun.execution)
    if !begun.options.tools.isEmpty { turn.tools = CodexTools.names(begun.options.tools) }
    self.turn = turn
    var input = CodexInput.read(begun.input)
    let schema = begun.options.outputSchema
    if let schema, !AnswerFormat.canBeStrict(schema) {
      input.items.insert(["type": "text", "text": .string(AnswerFormat.words(schema))], at: 0)
    }
    var parameters: [(String, JSONValue)] = [
      ("threadId", .string(thread)), ("input", .array(input.items)), ("model", .string(begun.model)),
      ("summary", .string(begun.options.summary ?? "auto")),
    ]
    if let id = begun.input.last?.clientID { parameters.append(("clientUserMessageId", .string(id))) }
    // The harness keeps both for later turns, and a turn that asks for none is to have the usual ones.
    if let effort = begun.options.effort ?? effort.map({ _ in CodexLaunch.usualEffort }) {
      parameters.append(("effort", .string(effort)))
    }
    if let tier = begun.options.serviceTier ?? serviceTier.map({ _ in "default" }) {
      parameters.append(("serviceTierForTurn", .string(tier)))
    }
    (effort, serviceTier) = (begun.options.effort, begun.options.serviceTier)
    if let schema, AnswerFormat.canBeStrict(schema) { parameters.append(("outputSchema", schema)) }
    let warnings = input.warnings.map { text in
      HarnessAction.emit(
        EventDraft(.warning(code: "input_not_supported", message: text), execution: begun.execution))
    }
    return warnings + refusedTools(begun.options.tools, begun.execution) + [
      request(.startTurn(begun.execution), "turn/start", object(parameters))
    ]
  }

  mutating func steer(_ message: Message, inputID: String) -> [HarnessAction] {
    guard let thread, let turn, let id = turn.id, turn.ending == nil, turn.interruptReason == nil else {
      return [.steerRejected(inputID: inputID)]
    }
    let parameters: JSONValue = [
      "threadId": .string(thread), "expectedTurnId": .string(id), "input": .array(CodexInput.read([message]).items),
    ]
    return [request(.steer(inputID: inputID), "turn/steer", parameters)]
  }

  mutating func interrupt(reason: String) -> [HarnessAction] {
    guard turn != nil, turn?.ending == nil, turn?.interruptReason == nil else { return [] }
    turn?.interruptReason = reason
    return sendInterrupt() + [.startTimer(.interrupt, HarnessTimer.patience)]
  }

  /// The harness takes an interrupt only by the turn's id: before it is known the interrupt waits.
  mutating func sendInterrupt() -> [HarnessAction] {
    guard let thread, let id = turn?.id, turn?.interruptReason != nil, turn?.interruptSent == false else { return [] }
    turn?.interruptSent = true
    return [request(.interrupt, "turn/interrupt", ["threadId": .string(thread), "turnId": .string(id)])]
  }

  mutating func timerFired(_ timer: HarnessTimer) -> [HarnessAction] {
    guard turn != nil else { return [] }
    if timer == Self.cleanTimer { return finish() }
    guard timer == .interrupt else { return [] }
    // It does not answer (an interrupt of an interrupted turn never is): its process is worth no more.
    turn?.ending = .interrupted
    return finish() + [.stop]
  }

  mutating func exited(_ exit: HarnessExit) -> [HarnessAction] {
    guard !hasExited else { return [] }
    hasExited = true
    var actions = lateTurns.keys.sorted().flatMap { lateTurns[$0]?.closeAll() ?? [] }
    lateTurns = [:]
    if turn != nil {
      if turn?.ending == nil {
        let isInterrupted = turn?.interruptReason != nil
        turn?.ending = isInterrupted ? .interrupted : .failed
        if turn?.failure == nil { turn?.failure = HarnessFailure.died(exit) }
      }
      actions += finish()
    }
    return actions + [.stop]
  }

  mutating func read(_ line: HarnessLine) -> [HarnessAction] {
    guard let message = line.object else { return line.unreadable(said: &saidUnreadable, of: turn?.execution) }
    let actions: [HarnessAction]
    if let method = message["method"]?.string {
      if let id = message["id"] {
        actions = answer(method, id, message["params"] ?? .null)
      } else {
        actions = notified(method, message["params"] ?? .null)
      }
    } else if let id = message["id"]?.int, let request = requests.removeValue(forKey: id) {
      actions = answered(request, message)
    } else {
      actions = []
    }
    return (actions + tellCalls()).from(line)
  }

  // MARK: Requests

  func object(_ members: [(String, JSONValue)]) -> JSONValue {
    .object(JSONObject(members.lazy.map { (key: $0.0, value: $0.1) }))
  }

  mutating func request(_ request: Request, _ method: String, _ parameters: JSONValue) -> HarnessAction {
    let number = nextRequest
    nextRequest += 1
    requests[number] = request
    let inputID: String
    switch request {
    case .startTurn(let execution): inputID = "\(execution)/start"
    case .steer(let id): inputID = id
    case .interrupt: inputID = "\(turn.map(\.execution.rawValue) ?? "launch")/interrupt"
    default: inputID = "\(turn.map(\.execution.rawValue) ?? "launch")/\(number)/\(method)"
    }
    return send(
      inputID, ["id": JSONValue(number), "method": .string(method), "params": parameters])
  }

  func send(_ id: String, _ message: JSONValue) -> HarnessAction {
    .send(id: id, bytes: message.serialized + [UInt8(ascii: "\n")])
  }

  /// The harness asks us something. But for the client's tools nothing that it asks may wait: nobody is there to answer.
  /// What it wants to do it may: the sandbox keeps it from harm.
  private mutating func answer(_ method: String, _ id: JSONValue, _ parameters: JSONValue) -> [HarnessAction] {
    switch method {
    case "item/commandExecution/requestApproval", "item/fileChange/requestApproval":
      return [reply(["id": id, "result": ["decision": "accept"]])]
    case "item/tool/call": return called(id, parameters)
    default: return [reply(["id": id, "error": ["code": -32601, "message": "not supported by this client"]])]
    }
  }

  private mutating func reply(_ message: JSONValue) -> HarnessAction {
    let number = nextRequest
    nextRequest += 1
    return send("answer/\(number)", message)
  }

  mutating func refuse(_ id: JSONValue) -> HarnessAction {
    reply(["id": id, "result": CodexTools.refusal("This tool is not available.")])
  }

  /// The conversation is there: the harness takes turns.
  mutating func becomeReady() -> [HarnessAction] {
    isReady = true
    return context.state == state ? [.ready] : [.saveState(state), .ready]
  }

  /// What another process needs to go on in the thread.
  var state: JSONValue {
    let tools = isResumed ? CodexTools.state(context.state) : CodexTools.state(context.tools, refusal: toolsRefusal)
    return .object(JSONObject([(key: "thread", value: JSONValue(thread))] + tools))
  }

  private var isResumed: Bool { context.state?["thread"]?.string.map { $0 == thread } ?? false }

  mutating func startThread() -> HarnessAction {
    var parameters = threadParameters
    if let instructions = context.instructions { parameters.append(("developerInstructions", .string(instructions))) }
    let tools = context.tools
    if toolsRefusal == nil, !tools.isEmpty {
      parameters.append(("dynamicTools", CodexTools.parameter(tools)))
    }
    return request(.startThread, "thread/start", object(parameters))
  }

  /// The policy is not `never`: under that Codex refuses a command with `rm -f` in it by itself (0.163.0), instead of asking.
  var threadParameters: [(String, JSONValue)] {
    [
      ("cwd", .string(context.workspace)), ("model", .string(context.model)), ("modelProvider", "centaur"),
      ("sandbox", "danger-full-access"), ("approvalPolicy", "on-request"),
    ]
  }

  mutating func sendInitialized() -> HarnessAction { send("launch/initialized", ["method": "initialized"]) }
}
