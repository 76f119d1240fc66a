import SessionModel

/// What one `codex exec --json` process prints, as a state machine (recorded in wire/harness/codex/22-exec-json.jsonl).
struct CodexExecMachine: HarnessMachine {
  private let context: HarnessContext
  private var items: TurnItems?
  private var usage = TurnUsage()
  private var failure: CentaurError?
  private var isCompleted = false
  private var interruptReason: String?
  private var hasExited = false

  init(_ context: HarnessContext) { self.context = context }

  mutating func launched() -> [HarnessAction] { [.ready] }

  mutating func begin(_ turn: HarnessTurn) -> [HarnessAction] {
    let items = TurnItems(execution: turn.execution)
    self.items = items
    let input = CodexInput.text(turn.input)
    let format = turn.options.outputSchema.flatMap { AnswerFormat.canBeStrict($0) ? nil : AnswerFormat.words($0) }
    let told = turn.instructions.map(NewInstructions.words)
    let prompt = [preface, told, input.items.first?.string, format].compactMap(\.self).joined(separator: "\n\n")
    var warnings = input.warnings.map { items.emit(.warning(code: "input_not_supported", message: $0)) }
    if !turn.options.tools.isEmpty { warnings.append(items.emit(HarnessFailure.toolsNotOffered)) }
    return warnings + [
      .send(id: "\(turn.execution)/start", bytes: Array(prompt.utf8)),
      .closeInput(id: "\(turn.execution)/end-of-input"),
    ]
  }

  /// Its command line has the model and all that the turn asks for.
  func serves(_ turn: TurnWishes) -> Bool { context.turn == turn }

  /// What a harness that takes only a prompt must be told with it: instructions, and what was said before.
  private var preface: String? {
    guard context.state == nil else { return nil }
    var parts: [String] = []
    if let instructions = context.instructions { parts.append("<instructions>\n\(instructions)\n</instructions>") }
    if let told = ConversationSoFar.text(context.history) { parts.append(told) }
    return parts.isEmpty ? nil : parts.joined(separator: "\n\n")
  }

  mutating func steer(_ message: Message, inputID: String) -> [HarnessAction] { [.steerRejected(inputID: inputID)] }

  mutating func interrupt(reason: String) -> [HarnessAction] {
    guard items != nil, interruptReason == nil else { return [] }
    interruptReason = reason
    return [.signal(2), .startTimer(.interrupt, HarnessTimer.patience)]
  }

  mutating func timerFired(_ timer: HarnessTimer) -> [HarnessAction] {
    timer == .interrupt ? finish() + [.stop] : []
  }

  mutating func exited(_ exit: HarnessExit) -> [HarnessAction] {
    guard !hasExited else { return [] }
    hasExited = true
    if failure == nil, !isCompleted {
      failure = HarnessFailure.died(exit)
    }
    return finish() + [.stop]
  }

  mutating func read(_ line: HarnessLine) -> [HarnessAction] {
    guard let message = try? JSONValue(parsing: line.bytes), items != nil else { return [] }
    let actions: [HarnessAction]
    switch message["type"]?.string {
    case "thread.started":
      let state: JSONValue = ["thread": message["thread_id"] ?? .null]
      actions = state == context.state ? [] : [.saveState(state)]
    case "item.started": actions = item(message["item"] ?? .null, isCompleted: false)
    case "item.completed": actions = item(message["item"] ?? .null, isCompleted: true)
    case "error", "turn.failed":
      let text = message["message"]?.string ?? message["error"]?["message"]?.string ?? "unknown error"
      failure = CodexFailure.read(message: text)
      actions = message["type"]?.string == "turn.failed" ? finish() : []
    case "turn.completed":
      actions = completed(message["usage"] ?? .null)
    default: actions = []
    }
    return actions.from(line)
  }

  private mutating func item(_ item: JSONValue, isCompleted: Bool) -> [HarnessAction] {
    let id = item["id"]?.string ?? ""
    let content = Self.content(item)
    guard isCompleted else { return items?.start(id, content) ?? [] }
    let status: Item.Status = item["status"]?.string == "failed" ? .failed : .completed
    return items?.complete(id, content, status) ?? []
  }

  private static func content(_ item: JSONValue) -> Item.Content {
    switch item["type"]?.string {
    case "agent_message": return .message(MessageItem(text: item["text"]?.string ?? ""))
    case "reasoning": return .reasoning(ReasoningItem(summary: [item["text"]?.string ?? ""]))
    case "command_execution":
      return .command(
        CommandItem(
          command: ShellCommand.unwrapped(item["command"]?.string ?? ""),
          output: item["aggregated_output"]?.string ?? "", exitCode: item["exit_code"]?.int))
    case "file_change":
      let changes = (item["changes"]?.array ?? []).compactMap { change -> FileChangeItem.Change? in
        guard let path = change["path"]?.string else { return nil }
        let kind = change["kind"]?.string.flatMap(FileChangeItem.Change.Kind.init(rawValue:)) ?? .update
        return FileChangeItem.Change(path: path, kind: kind)
      }
      return .fileChange(FileChangeItem(changes: changes))
    case "mcp_tool_call":
      let name = [item["server"]?.string, item["tool"]?.string].compactMap(\.self).joined(separator: ".")
      return .toolCall(
        ToolCallItem(name: name, arguments: item["arguments"] ?? .null, result: item["result"], origin: .mcp))
    case "todo_list":
      let steps = (item["items"]?.array ?? []).map {
        PlanItem.Step(
          text: $0["text"]?.string ?? "", status: $0["completed"]?.bool == true ? "completed" : "pending")
      }
      return .plan(PlanItem(steps: steps))
    case "web_search": return .webSearch(WebSearchItem(query: item["query"]?.string ?? ""))
    case let type: return .other(OtherItem(type: type ?? "", raw: item))
    }
  }

  /// The process reports the sum over the turn's model calls, not each of them: it stands for the last one too.
  private mutating func completed(_ usage: JSONValue) -> [HarnessAction] {
    isCompleted = true
    failure = nil
    let sum = Usage(
      input: usage["input_tokens"]?.int ?? 0, cachedInput: usage["cached_input_tokens"]?.int ?? 0,
      cacheWrite: usage["cache_write_input_tokens"]?.int ?? 0,
      output: usage["output_tokens"]?.int ?? 0, reasoning: usage["reasoning_output_tokens"]?.int ?? 0)
    self.usage.add(sum)
    let update = items.map { [$0.emit(.usageUpdated(call: sum, turn: self.usage))] } ?? []
    return update + finish()
  }

  private mutating func finish() -> [HarnessAction] {
    guard var items else { return [] }
    self.items = nil
    let terminal: EventPayload
    if let interruptReason, !isCompleted {
      terminal = .executionCancelled(reason: interruptReason, usage)
    } else if let failure {
      terminal = .executionFailed(ExecutionFailure(failure), usage)
    } else {
      terminal = .executionCompleted(usage)
    }
    return items.closeAll() + [
      .cancelTimer(.interrupt), items.emit(terminal), .turnEnded(items.execution),
    ]
  }
}
