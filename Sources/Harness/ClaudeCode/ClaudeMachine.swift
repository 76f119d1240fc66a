import SessionModel

/// The stream-json protocol of Claude Code 2.1.330 as a state machine.
///
/// States: *launching* (`initialize`) until `ready`; then *idle* or *in a turn*. A turn is one user line, named by a
/// UUID that follows from the execution. The harness says when it takes that line up: what it prints before belongs to
/// another turn (a late line of the last one, or one that it began of its own accord) and is not ours. It ends with the
/// harness's `result`, or, where the line was never taken up, with its cancellation. This file has the inputs;
/// `ClaudeMachine+Answers` what the model says, `ClaudeMachine+Tools` what it does, `ClaudeMachine+End` how it ends.
struct ClaudeMachine: HarnessMachine {
  enum Request: Hashable, Codable {
    case initialize
    /// Whether it is there.
    case probe
    case interrupt
    case setModel(String)
    case setEffort
    case setServers
    case removeServers
  }

  struct Turn: Codable {
    let execution: ExecutionID
    /// The name of its user line.
    let uuid: String
    var items: TurnItems
    var usage = TurnUsage()
    /// The harness has taken up its user line.
    var isStarted = false
    /// Why the turn was interrupted by us.
    var interruptReason: String?
    /// The model's answer that is being streamed.
    var message: ModelMessage?
    /// A text that is whole; whether it is the turn's last is known when something follows it.
    var wholeText: WholeText?
    var tools: [String: RunningTool] = [:]
    /// Answers whose tokens are counted, other than streamed ones.
    var countedMessages: Set<String> = []
    /// Texts and thoughts that were not streamed, to name them.
    var unstreamedBlocks = 0
    /// What kind of failure the harness put in the place of an answer.
    var apiError: String?
    /// The newest answer broke off and nothing took its place.
    var isCutOff = false
    /// The client's tools; nil where the turn has none.
    var clientTools: ClientToolNames?
    /// The user line, while the harness is told of the tools.
    var heldLine: HeldLine?
    private var calls: ClientCalls?

    init(execution: ExecutionID) {
      self.execution = execution
      uuid = DerivedUUID.of(execution.rawValue)
      items = TurnItems(execution: execution)
    }

    /// Not there in what an older version saved.
    var clientCalls: ClientCalls {
      get { calls ?? ClientCalls() }
      set { calls = newValue }
    }
  }

  struct HeldLine: Codable {
    var inputID: String
    var text: String
  }

  struct ModelMessage: Codable {
    let id: String
    /// The block that is being written.
    var block = 0
    var usage: Usage

    var blockKey: String { "\(id)/\(block)" }
  }

  struct WholeText: Codable {
    var key: String
    var text: String
  }

  struct RunningTool: Codable {
    var name: String
    var content: Item.Content
    /// As the harness tells the time, in milliseconds.
    var startedAt: Int64?
  }

  private(set) var context: HarnessContext
  private let conversation: ClaudeConversation
  /// The conversation as the harness names it.
  private var conversationID: String
  private var isReady = false
  /// The process is of no use: it did not come to its conversation.
  private var isRefused = false
  var hasExited = false
  private var saidUnreadable = false
  /// What was said before is with the harness, or goes to it with the next turn.
  private var historyIsTold: Bool { didSet { if historyIsTold { context.history = [] } } }
  /// What the harness is set to; nil where it is not known.
  private var model: String?
  private var effort: String?
  /// The client's tools that it offers; nil where that is not known.
  var offered: [ClientTool]?
  /// There may be a server of the client's tools that the harness never came to know; nil where there is none.
  var serverIsLeftOver: Bool?
  private var requests: [String: Request] = [:]
  private var nextRequest = 1
  var turn: Turn?

  init(_ context: HarnessContext) {
    self.context = context
    conversation = ClaudeConversation(context)
    conversationID = conversation.id
    historyIsTold = conversation.beginning != .new
    model = context.model
    if historyIsTold { self.context.history = [] }
  }

  // MARK: Inputs

  /// `initialize` makes the process answer before the first turn.
  mutating func launched() -> [HarnessAction] {
    [initialize()]
  }

  private mutating func initialize(_ more: [(String, JSONValue)] = []) -> HarnessAction {
    var body: [(String, JSONValue)] = [("subtype", "initialize"), ("hooks", .null)]
    if let schema = answerSchema { body.append(("jsonSchema", schema)) }
    return request(
      .initialize, "launch/initialize", .object(JSONObject((body + more).map { (key: $0.0, value: $0.1) })))
  }

  /// `initialize` is heeded once, and carries the instructions: it waits for the session, another question finds out
  /// whether the process is there.
  mutating func launchedWithoutSession() -> [HarnessAction] {
    [request(.probe, "launch/probe", ["subtype": "get_settings"])]
  }

  /// Requests are heeded in order, so a turn need not wait for the answer to `initialize` (seen with 2.1.330: the model
  /// is sent the same as by a process that was started with the instructions).
  mutating func claimed(by context: HarnessContext) -> [HarnessAction] {
    self.context = context
    isReady = true
    let instructions = context.instructions.map { [("appendSystemPrompt", JSONValue.string($0))] } ?? []
    return [initialize(instructions), .saveState(ClaudeConversation.begun(conversationID)), .ready]
  }

  /// What the model of this process must answer with, in all its turns: by a tool, whose input is an object.
  var answerSchema: JSONValue? { Self.answerSchema(context.turn) }

  private static func answerSchema(_ turn: TurnWishes?) -> JSONValue? {
    guard let schema = turn?.options.outputSchema, schema["type"]?.string == "object" else { return nil }
    return schema
  }

  func serves(_ turn: TurnWishes) -> Bool { Self.answerSchema(turn) == answerSchema }

  mutating func begin(_ begun: HarnessTurn) -> [HarnessAction] {
    var turn = Turn(execution: begun.execution)
    let tools = begun.options.tools
    if !tools.isEmpty { turn.clientTools = ClaudeClientTools.names(tools) }
    let input = ClaudeInput.read(begun.input)
    var actions = input.warnings.map { turn.items.emit(.warning(code: "input_not_supported", message: $0)) }
    self.turn = turn
    if let tier = begun.options.serviceTier { actions.append(turn.items.emit(HarnessFailure.noTier(tier))) }
    if let kind = begun.options.summary { actions.append(turn.items.emit(HarnessFailure.noSummary(kind))) }
    actions += set(model: begun.model, of: begun.execution) + set(effort: begun.options.effort, of: begun.execution)
    var blocks: [JSONValue] = []
    if !historyIsTold, let told = ConversationSoFar.text(context.history) { blocks.append(ClaudeInput.text(told)) }
    if let schema = begun.options.outputSchema, answerSchema != schema {
      blocks.append(ClaudeInput.text(AnswerFormat.words(schema)))
    }
    let line: JSONValue = [
      "type": "user", "uuid": .string(turn.uuid),
      "message": ["role": "user", "content": .array(blocks + input.blocks)],
    ]
    return actions + offer(tools, then: send("\(begun.execution)/start", line), of: begun.execution)
  }

  private mutating func set(model wanted: String, of execution: ExecutionID) -> [HarnessAction] {
    guard wanted != model else { return [] }
    model = wanted
    return [
      request(.setModel(wanted), "\(execution)/model", ["subtype": "set_model", "model": .string(wanted)])
    ]
  }

  /// By `apply_flag_settings`, which takes any value and ignores those that it does not know.
  private mutating func set(effort wanted: String?, of execution: ExecutionID) -> [HarnessAction] {
    let known = wanted.flatMap(Self.effort)
    var actions: [HarnessAction] = []
    if let wanted, known == nil {
      let warning = "The effort '\(wanted.prefix(64))' is not one of Claude Code's; its default holds."
      actions.append(.emit(EventDraft(.warning(code: "effort_not_supported", message: warning), execution: execution)))
    }
    guard known != effort else { return actions }
    effort = known
    let settings: JSONValue = ["effortLevel": JSONValue(known)]
    return actions + [
      request(.setEffort, "\(execution)/effort", ["subtype": "apply_flag_settings", "settings": settings])
    ]
  }

  private static func effort(_ name: String) -> String? {
    switch name {
    case "low", "medium", "high", "xhigh", "max": name
    case "none", "minimal": "low"
    default: nil
    }
  }

  /// Claude Code folds what comes during a command into the running turn, but keeps what comes while the model speaks
  /// for a turn of its own (wire/harness.md §3.3), and does not say which before it has done so. So it is a turn of its own.
  mutating func steer(_ message: Message, inputID: String) -> [HarnessAction] { [.steerRejected(inputID: inputID)] }

  mutating func interrupt(reason: String) -> [HarnessAction] {
    guard let execution = turn?.execution, turn?.interruptReason == nil else { return [] }
    turn?.interruptReason = reason
    if turn?.heldLine != nil {
      forgetOffer()
      return finish(.interrupted) + [.cancelTimer(Self.offerTimer)]
    }
    // A user line that it has not taken up would otherwise run next.
    let interrupt: JSONValue = ["subtype": "interrupt", "cancel_queued": true]
    return [
      request(.interrupt, "\(execution)/interrupt", interrupt), .startTimer(.interrupt, HarnessTimer.patience),
    ]
  }

  mutating func timerFired(_ timer: HarnessTimer) -> [HarnessAction] {
    if timer == Self.offerTimer { return turn?.heldLine == nil ? [] : notOffered("it never asked for them.") }
    guard turn != nil, timer == .interrupt else { return [] }
    return finish(.interrupted) + [.stop]
  }

  mutating func exited(_ exit: HarnessExit) -> [HarnessAction] {
    guard !hasExited else { return [] }
    hasExited = true
    var actions: [HarnessAction] = []
    if turn != nil {
      actions = finish(turn?.interruptReason == nil ? .failed(HarnessFailure.died(exit)) : .interrupted)
    } else if !isReady, !isRefused, conversation.beginning != .resumed, let status = exit.status, status != 0 {
      // The id may be taken by a conversation that is not in our log (a store older than its homes), or our transcript
      // may not be to this version's taste: the harness says so only to its standard error.
      actions = [.saveState(conversation.replacement)]
    }
    return actions + [.stop]
  }

  mutating func read(_ line: HarnessLine) -> [HarnessAction] {
    guard let message = line.object else { return line.unreadable(said: &saidUnreadable, of: turn?.execution) }
    return (read(message) + tellCalls()).from(line)
  }

  private mutating func read(_ message: JSONValue) -> [HarnessAction] {
    let type = message["type"]?.string
    switch type {
    case "control_request": return answer(message["request_id"] ?? .null, message["request"] ?? .null)
    case "control_response": return answered(message["response"] ?? .null)
    case "result" where !isReady: return refused()
    default: break
    }
    noteStart(message)
    if type == "command_lifecycle" { return lifecycle(message) }
    guard turn?.isStarted == true else { return [] }
    if let parent = message["parent_tool_use_id"]?.string { return subagentSaid(message, under: parent) }
    switch type {
    case "stream_event": return streamed(message["event"] ?? .null, message)
    case "assistant": return said(message)
    case "user": return toolsReturned(message)
    case "system": return noted(message)
    case "result": return ended(message)
    default: return []
    }
  }

  // MARK: Whose lines they are

  private mutating func noteStart(_ message: JSONValue) {
    guard let turn, !turn.isStarted else { return }
    let name = JSONValue.string(turn.uuid)
    guard
      message["state"]?.string == "started" && message["command_uuid"] == name
        || message["user_message_uuids"]?.array?.contains(name) == true
    else { return }
    self.turn?.isStarted = true
    historyIsTold = true
  }

  /// A user line that was cancelled before it was taken up has no `result`.
  private mutating func lifecycle(_ message: JSONValue) -> [HarnessAction] {
    guard let turn, message["state"]?.string == "cancelled", message["command_uuid"] == .string(turn.uuid) else {
      return []
    }
    return finish(.interrupted)
  }

  /// The harness tells at each turn in which conversation it is.
  mutating func noteConversation(_ id: String?) -> [HarnessAction] {
    guard let id, id != conversationID else { return [] }
    conversationID = id
    return [.saveState(ClaudeConversation.begun(id))]
  }

  // MARK: Requests

  mutating func request(_ request: Request, _ inputID: String, _ body: JSONValue) -> HarnessAction {
    let id = "centaur-\(nextRequest)"
    nextRequest += 1
    requests[id] = request
    return send(inputID, ["type": "control_request", "request_id": .string(id), "request": body])
  }

  private func send(_ id: String, _ message: JSONValue) -> HarnessAction {
    .send(id: id, bytes: message.serialized + [UInt8(ascii: "\n")])
  }

  private mutating func answered(_ response: JSONValue) -> [HarnessAction] {
    guard let id = response["request_id"]?.string, let request = requests.removeValue(forKey: id) else { return [] }
    let error = response["subtype"]?.string == "error" ? response["error"]?.string ?? "no reason given" : nil
    switch request {
    case .probe: return error == nil ? [.ready] : [.stop]
    case .initialize where isReady:
      guard let error, context.instructions != nil else { return [] }
      let warning = "The harness did not take the instructions: \(error.prefix(300))"
      return [.emit(EventDraft(.warning(code: "instructions_not_given", message: warning)))]
    case .initialize:
      // It need not be understood: that it is answered says that the process reads.
      isReady = true
      let state = ClaudeConversation.begun(conversationID)
      return context.state == state ? [.ready] : [.saveState(state), .ready]
    case .setModel(let wanted):
      guard let error else { return [] }
      model = nil
      let warning = "The harness did not take the model '\(wanted)': \(error.prefix(300))"
      return [
        .emit(EventDraft(.warning(code: "model_not_available", message: warning), execution: turn?.execution))
      ]
    case .setServers:
      let refused = error ?? response["response"]?["errors"]?[ClaudeClientTools.server]?.string
      return refused.map { notOffered($0) } ?? []
    case .interrupt, .setEffort, .removeServers: return []
    }
  }

  /// A `result` before the harness took turns: it does not have the conversation that it was to resume.
  private mutating func refused() -> [HarnessAction] {
    guard !isRefused else { return [] }
    isRefused = true
    let warning =
      conversation.beginning == .resumed ? [HarnessAction.emit(EventDraft(HarnessFailure.conversationRestarted))] : []
    return warning + [.saveState(conversation.replacement), .stop]
  }

  /// The harness asks us something. But for the client's tools nothing that it asks may wait: nobody is there to answer.
  private mutating func answer(_ id: JSONValue, _ request: JSONValue) -> [HarnessAction] {
    switch request["subtype"]?.string {
    case "can_use_tool":
      return [respond(id, ["behavior": "deny", "message": "Nobody is there to be asked; go on without it."])]
    case "hook_callback": return [respond(id, [:])]
    case "mcp_message": return serverAsked(id, request["message"] ?? .null)
    default:
      let error: JSONValue = ["subtype": "error", "request_id": id, "error": "not supported by this client"]
      return [send(Self.inputID(id), ["type": "control_response", "response": error])]
    }
  }

  func respond(_ id: JSONValue, _ response: JSONValue, inputID: String? = nil) -> HarnessAction {
    send(
      inputID ?? Self.inputID(id),
      ["type": "control_response", "response": ["subtype": "success", "request_id": id, "response": response]])
  }

  private static func inputID(_ id: JSONValue) -> String { "answer/\(id.string ?? id.text)" }
}
