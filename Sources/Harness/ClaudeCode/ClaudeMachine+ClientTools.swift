import SessionModel

/// The client's tools: offered before the turn's user line, called over the server's messages.
extension ClaudeMachine {
  /// Runs while the harness may ask which tools the server has.
  static let offerTimer = HarnessTimer(name: "offer")

  /// Has the harness offer these tools, and gives it the turn's line when it knows them.
  mutating func offer(_ tools: [ClientTool], then line: HarnessAction, of execution: ExecutionID) -> [HarnessAction] {
    let known = offered ?? []
    // A server that is there is not added once more: whatever became of it, the harness would not ask for its tools again
    // (tried with 2.1.330). So it goes first.
    let isLeftOver = serverIsLeftOver == true
    guard tools != known || isLeftOver else { return [line] }
    var actions: [HarnessAction] = []
    if isLeftOver || tools.isEmpty {
      actions = [request(.removeServers, "\(execution)/tools/removed", ClaudeClientTools.removed)]
    }
    (offered, serverIsLeftOver) = (tools, nil)
    // It asks for the server's tools some time after it has answered.
    guard !tools.isEmpty, case .send(let id, let bytes) = line else { return actions + [line] }
    turn?.heldLine = HeldLine(inputID: id, text: String(decoding: bytes, as: UTF8.self))
    let change = known.isEmpty ? ClaudeClientTools.added : ClaudeClientTools.changed
    return actions + [
      request(.setServers, "\(execution)/tools", change), .startTimer(Self.offerTimer, HarnessTimer.patience),
    ]
  }

  /// Gives the harness the line that waited for its tools.
  mutating func releaseLine() -> [HarnessAction] {
    guard let line = turn?.heldLine else { return [] }
    turn?.heldLine = nil
    return [.send(id: line.inputID, bytes: Array(line.text.utf8)), .cancelTimer(Self.offerTimer)]
  }

  /// What the harness offers is not known any more.
  mutating func forgetOffer() { (offered, serverIsLeftOver) = (nil, true) }

  /// The tools could not be offered: the turn goes on without them.
  mutating func notOffered(_ reason: String) -> [HarnessAction] {
    forgetOffer()
    let warning = "The harness did not take the client's functions: \(reason.prefix(300))"
    let told = turn.map { [$0.items.emit(.warning(code: "tools_not_offered", message: warning))] } ?? []
    return told + releaseLine()
  }

  /// A message for the server (JSON-RPC), in a control request of this id.
  mutating func serverAsked(_ id: JSONValue, _ message: JSONValue) -> [HarnessAction] {
    guard let number = message["id"] else { return [reply(id, .object(JSONObject()), to: nil)] }
    guard let offered, !offered.isEmpty else { return [refuse(id, number)] }
    switch message["method"]?.string {
    case "initialize": return [reply(id, ClaudeClientTools.greeting(message), to: number)]
    case "tools/list": return [reply(id, ClaudeClientTools.list(offered), to: number)] + releaseLine()
    case "tools/call": return called(id, message["params"] ?? .null, number)
    case "ping": return [reply(id, .object(JSONObject()), to: number)]
    default: return [refuse(id, number)]
    }
  }

  private mutating func called(_ id: JSONValue, _ parameters: JSONValue, _ number: JSONValue) -> [HarnessAction] {
    guard let callID = parameters["_meta"]?["claudecode/toolUseId"]?.string, turn?.isStarted == true,
      turn?.interruptReason == nil, let tool = turn?.clientTools?.tool(parameters["name"]?.string ?? "")
    else { return [refuse(id, number)] }
    let arguments = parameters["arguments"] ?? .object(JSONObject())
    var actions: [HarnessAction] = []
    if turn?.items.isOpen(callID) != true {
      // An agent that the model has sent out calls it under its own name; it is the client's to answer none the less.
      let call = ToolCallItem(name: tool.name, arguments: arguments, origin: .client)
      actions = turn?.items.start(callID, .toolCall(call)) ?? []
    }
    guard let ordinal = turn?.items.ordinal(callID) else { return actions }
    turn?.clientCalls.ask(
      .init(ordinal: ordinal, name: tool.name, arguments: arguments, handle: ["request": id, "message": number]))
    return actions
  }

  /// The log hears of calls when the model has ended the message that they are in.
  mutating func tellCalls() -> [HarnessAction] {
    guard let running = turn, running.message == nil, running.interruptReason == nil,
      let waiting = turn?.clientCalls.tell(running.execution, running.usage)
    else { return [] }
    return settleText(as: .commentary) + [running.items.emit(waiting)]
  }

  mutating func answer(_ output: ToolOutput) -> [HarnessAction] {
    guard turn?.execution == output.call.execution, let call = turn?.clientCalls.take(output.call.ordinal) else {
      return []
    }
    return [
      reply(
        call.handle["request"] ?? .null, ClaudeClientTools.result(output), to: call.handle["message"],
        inputID: output.inputID)
    ]
  }

  /// What the model calls a tool of the client's by, as an item; nil for another's.
  func clientCall(_ name: String, _ input: JSONValue) -> Item.Content? {
    guard let name = ClaudeClientTools.name(ofModel: name), let tool = turn?.clientTools?.tool(name) else { return nil }
    return .toolCall(ToolCallItem(name: tool.name, arguments: input, origin: .client))
  }

  // MARK: Replies

  private func reply(
    _ id: JSONValue, _ result: JSONValue, to number: JSONValue?, inputID: String? = nil
  ) -> HarnessAction {
    let members: [(String, JSONValue)] =
      [("jsonrpc", "2.0")] + (number.map { [("id", $0)] } ?? []) + [("result", result)]
    return respond(id, ["mcp_response": .object(JSONObject(members))], inputID: inputID)
  }

  private func refuse(_ id: JSONValue, _ number: JSONValue) -> HarnessAction {
    let error: JSONValue = ["code": -32601, "message": "not supported by this client"]
    return respond(id, ["mcp_response": ["jsonrpc": "2.0", "id": number, "error": error]])
  }
}
