import SessionModel

/// Calls of the client's tools. Codex asks for one after another, also where its model asked for several at once, and
/// tells what a model call cost only when all of its calls are answered.
extension CodexMachine {
  /// A thread has the tools that it was started with.
  func serves(_ turn: TurnWishes) -> Bool { CodexTools.areSettled(in: state, turn.options.tools) }

  /// A thread that cannot be started with the client's tools is started without them; its turns are told why.
  mutating func startWithoutTools(_ error: String) -> [HarnessAction]? {
    guard toolsRefusal == nil, !context.tools.isEmpty else { return nil }
    toolsRefusal = error
    return [startThread()]
  }

  /// What the log is to hear of tools that Codex did not take.
  func refusedTools(_ tools: [ClientTool], _ execution: ExecutionID) -> [HarnessAction] {
    guard let toolsRefusal, !tools.isEmpty else { return [] }
    let warning = "The harness did not take the client's functions: \(toolsRefusal.prefix(300))"
    return [.emit(EventDraft(.warning(code: "tools_not_offered", message: warning), execution: execution))]
  }

  /// `item/tool/call`: nobody but the client can answer it.
  mutating func called(_ id: JSONValue, _ parameters: JSONValue) -> [HarnessAction] {
    let turnID = parameters["turnId"]?.string
    guard let callID = parameters["callId"]?.string, turn?.ending == nil, turn?.id == nil || turnID == turn?.id,
      let tool = turn?.tools?.tool(parameters["tool"]?.string ?? "")
    else { return [refuse(id)] }
    let arguments = parameters["arguments"] ?? .null
    var actions: [HarnessAction] = []
    if turn?.items.isOpen(callID) != true {
      let call = ToolCallItem(name: tool.name, arguments: arguments, origin: .client)
      actions = turn?.items.start(callID, .toolCall(call)) ?? []
    }
    guard let ordinal = turn?.items.ordinal(callID) else { return actions }
    turn?.clientCalls.ask(.init(ordinal: ordinal, name: tool.name, arguments: arguments, handle: id))
    return actions
  }

  /// The log hears of calls at the end of the line that brought the last thing before the wait.
  mutating func tellCalls() -> [HarnessAction] {
    guard let running = turn, running.ending == nil, running.interruptReason == nil,
      let waiting = turn?.clientCalls.tell(running.execution, running.usage)
    else { return [] }
    return [running.items.emit(waiting)]
  }

  mutating func answer(_ output: ToolOutput) -> [HarnessAction] {
    guard turn?.execution == output.call.execution, let call = turn?.clientCalls.take(output.call.ordinal) else {
      return []
    }
    return [send(output.inputID, ["id": call.handle, "result": CodexTools.result(output)])]
  }

  /// The client's own name of a tool that it is called by.
  func named(_ content: Item.Content) -> Item.Content {
    guard case .toolCall(var call) = content, call.origin == .client, let tool = turn?.tools?.tool(call.name) else {
      return content
    }
    call.name = tool.name
    return .toolCall(call)
  }
}
