import SessionModel

/// What the harness reports: answers to our requests, items, usage, the turn's end.
extension CodexMachine {
  // MARK: Answers

  mutating func answered(_ request: Request, _ message: JSONValue) -> [HarnessAction] {
    let error = message["error"]?["message"]?.string
    let result = message["result"] ?? .null
    switch request {
    case .initialize:
      guard error == nil else { return [.stop] }
      guard let known = context.state?["thread"]?.string, CodexTools.areSettled(in: context.state, context.tools) else {
        return newThreadWarning + [sendInitialized(), startThread()]
      }
      let resume = threadParameters + [("threadId", .string(known)), ("excludeTurns", true)]
      return [sendInitialized(), self.request(.resumeThread, "thread/resume", object(resume))]
    case .resumeThread:
      guard error == nil, let id = result["thread"]?["id"]?.string else {
        // The next process is told what was said; this one was not.
        return [.emit(EventDraft(HarnessFailure.conversationRestarted)), .saveState(["thread": .null]), .stop]
      }
      thread = id
      toolsRefusal = CodexTools.refusal(context.state)
      return becomeReady()
    case .startThread:
      if let error, let refused = startWithoutTools(error) { return refused }
      guard error == nil, let id = result["thread"]?["id"]?.string else { return [.stop] }
      thread = id
      return waitsForSession ? [.ready] : tellHistory()
    case .injectHistory:
      guard let error else { return becomeReady() }
      let warning = EventPayload.warning(
        code: "history_not_injected", message: "The harness did not take the earlier conversation: \(error.prefix(300))"
      )
      return [.emit(EventDraft(warning))] + becomeReady()
    case .startTurn(let execution): return turnStarted(execution, error, result)
    case .steer(let inputID): return [error == nil ? .steered(inputID: inputID) : .steerRejected(inputID: inputID)]
    case .interrupt: return []
    case .clean: return finish()
    }
  }

  /// What was said before goes into the conversation that has been begun.
  mutating func tellHistory() -> [HarnessAction] {
    let history = CodexInput.history(context.history)
    context.history = []
    guard let thread, !history.isEmpty else { return becomeReady() }
    return [
      request(.injectHistory, "thread/inject_items", ["threadId": .string(thread), "items": .array(history)])
    ]
  }

  private mutating func turnStarted(
    _ execution: ExecutionID, _ error: String?, _ result: JSONValue
  ) -> [HarnessAction] {
    guard turn?.execution == execution else { return [] }
    if let error {
      let isTooLong = error.hasPrefix("Input exceeds the maximum length")
      turn?.failure = CentaurError(
        isTooLong ? .inputTooLong : .providerInvalidRequest, "The harness refused the turn: \(error.prefix(500))")
      let isInterrupted = turn?.interruptReason != nil
      turn?.ending = isInterrupted ? .interrupted : .failed
      return finish()
    }
    if turn?.id == nil { turn?.id = result["turn"]?["id"]?.string }
    return sendInterrupt()
  }

  // MARK: Notifications

  mutating func notified(_ method: String, _ parameters: JSONValue) -> [HarnessAction] {
    if let other = parameters["threadId"]?.string, let thread, other != thread { return [] }
    let turnID = parameters["turnId"]?.string
    if let turnID, closedTurns.contains(turnID) { return [] }
    switch method {
    case "turn/started":
      guard turn != nil, turn?.ending == nil else { return [] }
      turn?.id = parameters["turn"]?["id"]?.string
      return sendInterrupt()
    case "item/started":
      guard let item = parameters["item"], let reading = CodexItems.read(item) else { return [] }
      let (itemID, content) = (id(item), named(reading.content))
      return withItems(turnID) { items in
        // A retried model call begins its message anew; the half one before it gets no end of its own.
        let cut = content.isModelText ? items.closeAll { $0.isModelText } : []
        return cut + items.start(itemID, content)
      }
    case "item/completed":
      guard let item = parameters["item"], let reading = CodexItems.read(item) else { return [] }
      let (itemID, content) = (id(item), named(reading.content))
      return withItems(turnID) { $0.complete(itemID, content, reading.status) }
    case "item/agentMessage/delta": return delta(parameters, .text)
    case "item/reasoning/summaryTextDelta":
      return delta(parameters, .summary(parameters["summaryIndex"]?.int ?? 0))
    case "item/reasoning/textDelta": return delta(parameters, .reasoningText)
    case "item/commandExecution/outputDelta": return delta(parameters, .output)
    case "turn/plan/updated":
      return withItems(turnID) { $0.complete("plan", .plan(CodexItems.plan(parameters)), .completed) }
    case "thread/tokenUsage/updated": return usage(parameters, turnID)
    case "error": return failed(parameters, turnID)
    case "turn/completed": return completed(parameters["turn"] ?? .null)
    case "warning", "configWarning":
      // What it warns of before the conversation begins is about its own installation.
      guard isReady, let text = parameters["message"]?.string ?? parameters["summary"]?.string else { return [] }
      let warning = EventPayload.warning(code: "harness_warning", message: String(text.prefix(1000)))
      return [.emit(EventDraft(warning, execution: turn?.execution))]
    default: return []
    }
  }

  private func id(_ item: JSONValue) -> String { item["id"]?.string ?? "" }

  private mutating func delta(_ parameters: JSONValue, _ field: ItemDelta.Field) -> [HarnessAction] {
    guard let id = parameters["itemId"]?.string, let text = parameters["delta"]?.string else { return [] }
    return withItems(parameters["turnId"]?.string) { $0.delta(id, field, text) }
  }

  /// The items of the turn that a notification is about: the running one, or one that is over but for a command.
  private mutating func withItems(
    _ turnID: String?, _ body: (inout TurnItems) -> [HarnessAction]
  ) -> [HarnessAction] {
    if let turnID, lateTurns[turnID] != nil, turn?.id != turnID {
      guard var items = lateTurns.removeValue(forKey: turnID) else { return [] }
      let actions = body(&items)
      if items.isEmpty { close(turnID) } else { lateTurns[turnID] = items }
      return actions
    }
    guard turn != nil, turnID == nil || turn?.id == nil || turn?.id == turnID else { return [] }
    return withRunningItems(body)
  }

  private mutating func close(_ turnID: String) {
    closedTurns.append(turnID)
    if closedTurns.count > 64 { closedTurns.removeFirst() }
  }

  private mutating func withRunningItems(_ body: (inout TurnItems) -> [HarnessAction]) -> [HarnessAction] {
    guard var running = turn else { return [] }
    // Taken out while it changes, so that its tables are not copied.
    turn = nil
    let actions = body(&running.items)
    turn = running
    return actions
  }

  private mutating func usage(_ parameters: JSONValue, _ turnID: String?) -> [HarnessAction] {
    guard let running = turn, running.id == nil || turnID == running.id,
      let last = parameters["tokenUsage"]?["last"]
    else { return [] }
    let call = Usage(
      input: last["inputTokens"]?.int ?? 0, cachedInput: last["cachedInputTokens"]?.int ?? 0,
      cacheWrite: last["cacheWriteInputTokens"]?.int ?? 0,
      output: last["outputTokens"]?.int ?? 0, reasoning: last["reasoningOutputTokens"]?.int ?? 0)
    turn?.usage.add(call)
    return [running.items.emit(.usageUpdated(call: call, turn: turn?.usage ?? TurnUsage()))]
  }

  private mutating func failed(_ parameters: JSONValue, _ turnID: String?) -> [HarnessAction] {
    guard let running = turn, turnID == nil || running.id == nil || running.id == turnID else { return [] }
    let error = parameters["error"] ?? .null
    let message = error["message"]?.string ?? "unknown error"
    guard parameters["willRetry"]?.bool == true else {
      turn?.failure = CodexFailure.read(message: message, info: error["codexErrorInfo"])
      return []
    }
    let detail = error["additionalDetails"]?.string ?? ""
    let text = "\(message.prefix(300)) \(detail.prefix(500))"
    let cut = withRunningItems { $0.closeAll { $0.isModelText } }
    return cut + [running.items.emit(.warning(code: "provider_retry", message: text))]
  }

  // MARK: The turn's end

  private mutating func completed(_ over: JSONValue) -> [HarnessAction] {
    guard let running = turn, running.ending == nil, running.id == nil || over["id"]?.string == running.id else {
      return []
    }
    if turn?.id == nil { turn?.id = over["id"]?.string }
    switch over["status"]?.string {
    case "completed":
      turn?.ending = .completed
      return finish()
    case "failed":
      if let error = over["error"], !error.isNull {
        turn?.failure = CodexFailure.read(
          message: error["message"]?.string ?? "unknown error", info: error["codexErrorInfo"])
      }
      turn?.ending = .failed
    default: turn?.ending = .interrupted
    }
    // Codex leaves commands running when a turn is cut; it ends them when asked, and reports each.
    guard let thread else { return finish() }
    let closed = withRunningItems { $0.closeAll { !$0.isCommand } }
    return closed + [
      .cancelTimer(.interrupt),
      request(.clean, "thread/backgroundTerminals/clean", ["threadId": .string(thread)]),
      .startTimer(Self.cleanTimer, HarnessTimer.patience),
    ]
  }

  /// Closes the turn: open items, the terminal event, and the machine is free for the next turn.
  mutating func finish() -> [HarnessAction] {
    guard var running = turn, let ending = running.ending else { return [] }
    turn = nil
    var actions: [HarnessAction] = []
    if ending == .completed, !hasExited {
      actions += running.items.closeAll { !$0.isCommand }
      // A command that outlives its turn goes on reporting under it.
      if !running.items.isEmpty, let id = running.id { lateTurns[id] = running.items }
    } else {
      actions += running.items.closeAll()
    }
    if let id = running.id, lateTurns[id] == nil { close(id) }
    actions.append(.cancelTimer(.interrupt))
    actions.append(.cancelTimer(Self.cleanTimer))
    let terminal: EventPayload
    switch ending {
    case .completed: terminal = .executionCompleted(running.usage)
    case .interrupted:
      terminal = .executionCancelled(reason: running.interruptReason ?? "interrupted", running.usage)
    case .failed:
      let failure = running.failure ?? CentaurError(.harnessProtocol, "The harness failed and did not say why.")
      terminal = .executionFailed(ExecutionFailure(failure), running.usage)
    }
    return actions + [running.items.emit(terminal), .turnEnded(running.execution)]
  }
}
