public import SessionModel

/// Logs of turns of all shapes, for the tests of every dialect's fold.
public enum SampleTurns {
  public static let execution = ExecutionID(rawValue: "0190e0")

  /// A turn's events, numbered; their session's first event came before.
  public static func log(_ payloads: [EventPayload], of execution: ExecutionID = execution) -> [SessionEvent] {
    payloads.enumerated().map { index, payload in
      SessionEvent(
        seq: Int64(index + 2), sessionID: SessionID(rawValue: "s"), executionID: execution, payload: payload,
        createdAt: Timestamp(milliseconds: 1_800_000_000_000 + Int64(index)))
    }
  }

  public static let usage: TurnUsage = {
    var usage = TurnUsage()
    usage.add(Usage(input: 900, cachedInput: 100, output: 20, reasoning: 5))
    usage.add(Usage(input: 1200, cachedInput: 800, output: 30, reasoning: 0))
    return usage
  }()

  private static func item(_ ordinal: Int, _ content: Item.Content, _ status: Item.Status = .completed) -> Item {
    Item(ordinal: ordinal, status: status, content: content)
  }

  private static func message(_ ordinal: Int, _ text: String, phase: MessageItem.Phase? = nil) -> [EventPayload] {
    let half = text.index(text.startIndex, offsetBy: text.count / 2)
    return [
      .itemStarted(item(ordinal, .message(MessageItem(phase: phase)), .inProgress)),
      .itemDelta(ItemDelta(ordinal: ordinal, field: .text, text: String(text[..<half]))),
      .itemDelta(ItemDelta(ordinal: ordinal, field: .text, text: String(text[half...]))),
      .itemCompleted(item(ordinal, .message(MessageItem(phase: phase, text: text)))),
    ]
  }

  private static func started(_ ordinal: Int, _ command: String) -> EventPayload {
    .itemStarted(item(ordinal, .command(CommandItem(command: command)), .inProgress))
  }

  private static func ended(_ ordinal: Int, _ command: String, _ output: String, exit: Int) -> EventPayload {
    let content = CommandItem(command: command, output: output, exitCode: exit, duration: .milliseconds(1500))
    return .itemCompleted(item(ordinal, .command(content), exit == 0 ? .completed : .failed))
  }

  private static func call(_ ordinal: Int, _ status: Item.Status, result: JSONValue? = nil) -> EventPayload {
    let call = ToolCallItem(name: "weather", arguments: ["city": "Bern"], result: result, origin: .client)
    let item = item(ordinal, .toolCall(call), status)
    return status == .inProgress ? .itemStarted(item) : .itemCompleted(item)
  }

  private static let usageAfterCalls: TurnUsage = {
    var sum = usage
    sum.add(Usage(input: 1300, cachedInput: 1200, output: 7, reasoning: 2))
    return sum
  }()

  /// Where the first wait of `client-calls` stands in its log: what a next answer begins behind.
  public static let waitingSeq: Int64 = 11

  private static let begun: [EventPayload] = [
    .messageAppended(Message(parts: [.text("do it")])), .executionQueued(TurnOptions()), .executionStarted(model: "m"),
  ]

  private static let end: [EventPayload] = [.executionCompleted(usage)]

  public static let all: [String: [EventPayload]] = [
    "text": begun + message(1, "Hello there.") + end,
    "commentary-and-answer": begun + message(1, "Let me look.") + [started(2, "ls"), ended(2, "ls", "a\nb\n", exit: 0)]
      + message(3, "Two files.") + end,
    "phases-of-the-harness": begun + message(1, "Looking.", phase: .commentary) + message(2, "Found.", phase: .final)
      + end,
    "failed-command": begun + [started(1, "make test"), ended(1, "make test", "FAIL\n", exit: 2)]
      + message(2, "It fails.") + end,
    "commands-side-by-side": begun + [
      started(1, "sleep 2"), started(2, "sleep 1"), ended(2, "sleep 1", "", exit: 0), ended(1, "sleep 2", "", exit: 0),
    ] + message(3, "Slept.") + end,
    "command-inside-a-message": begun + [
      .itemStarted(item(1, .message(MessageItem()), .inProgress)),
      .itemDelta(ItemDelta(ordinal: 1, field: .text, text: "While ")), started(2, "uptime"),
      .itemDelta(ItemDelta(ordinal: 1, field: .text, text: "waiting.")), ended(2, "uptime", "up\n", exit: 0),
      .itemCompleted(item(1, .message(MessageItem(text: "While waiting.")))),
    ] + message(3, "Done.") + end,
    "reasoning": begun + [
      .itemStarted(item(1, .reasoning(ReasoningItem()), .inProgress)),
      .itemDelta(ItemDelta(ordinal: 1, field: .summary(0), text: "First I look.")),
      .itemDelta(ItemDelta(ordinal: 1, field: .summary(1), text: "Then I decide.")),
      .itemCompleted(item(1, .reasoning(ReasoningItem(summary: ["First I look.", "Then I decide."])))),
    ] + message(2, "Decided.") + end,
    "file-change": begun + [
      .itemStarted(item(1, .fileChange(FileChangeItem(changes: [.init(path: "/w/a.txt", kind: .add)])), .inProgress)),
      .itemCompleted(
        item(1, .fileChange(FileChangeItem(changes: [.init(path: "/w/a.txt", kind: .add, diff: "+x\n")])))),
    ] + message(2, "Written.") + end,
    "other-work": begun + [
      .itemCompleted(
        item(1, .toolCall(ToolCallItem(name: "lookup", arguments: ["id": 7], result: "ok", origin: .mcp)))),
      .itemCompleted(item(2, .webSearch(WebSearchItem(query: "swift 6")))),
      .itemCompleted(item(3, .plan(PlanItem(steps: [.init(text: "look", status: "completed")])))),
      .itemCompleted(item(4, .other(OtherItem(type: "hologram", raw: ["beam": 7])))),
    ] + message(5, "All done.") + end,
    "client-calls": begun + message(1, "Let me ask.") + [
      call(2, .inProgress), .usageUpdated(call: Usage(input: 900, output: 20), turn: usage),
      .executionWaiting(
        [ClientCall(id: ClientCallID(execution, 2), name: "weather", arguments: ["city": "Bern"])], usage),
      .executionResumed([ToolOutput(call: ClientCallID(execution, 2), parts: [.text("sunny")])], messages: 0),
      call(2, .completed, result: "sunny"),
    ] + message(3, "It is sunny.") + [.executionCompleted(usageAfterCalls)],
    "failed-before-output": begun + [
      .executionFailed(ExecutionFailure(code: "provider_unavailable", message: "The provider is down."), TurnUsage())
    ],
    "failed-inside-a-message": begun + [
      .itemStarted(item(1, .message(MessageItem()), .inProgress)),
      .itemDelta(ItemDelta(ordinal: 1, field: .text, text: "Half of")),
      .itemCompleted(item(1, .message(MessageItem(text: "Half of")), .incomplete)),
      .executionFailed(ExecutionFailure(code: "provider_stream_cut", message: "The stream was cut."), usage),
    ],
    "cancelled": begun + [
      started(1, "sleep 99"),
      .itemCompleted(item(1, .command(CommandItem(command: "sleep 99")), .incomplete)),
      .executionCancelled(reason: "superseded", usage),
    ],
    "command-that-outlives-its-turn": begun + [started(1, "serve &")] + message(2, "It serves.") + end,
    "no-output": begun + end,
  ]
}
