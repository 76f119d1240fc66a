import SessionModel
import Testing

/// What is read from the log must be what was written to it: every answer is folded from it again.
struct EventCodingTests {
  private static let usage: TurnUsage = {
    var usage = TurnUsage()
    usage.add(Usage(input: 100, cachedInput: 60, cacheWrite: 30, output: 20, reasoning: 5))
    usage.add(Usage(input: 150, cachedInput: 100, output: 10, reasoning: 0))
    return usage
  }()

  private static let toolOptions: TurnOptions = {
    var options = TurnOptions()
    (options.maxToolCalls, options.maxOutputTokens) = (3, 400)
    options.tools = [ClientTool(name: "look_up", description: "d", parameters: ["type": "object"])]
    return options
  }()

  private static let passingOn: TurnOptions = {
    var options = TurnOptions()
    (options.instructions, options.passesOn) = ("Be brief.", 2)
    return options
  }()

  private static func item(_ content: Item.Content, _ status: Item.Status = .completed) -> Item {
    Item(ordinal: 7, status: status, content: content)
  }

  private static func key(_ text: String) -> ThreadKey {
    do { return try ThreadKey(text) } catch { preconditionFailure("\(error)") }
  }

  static let payloads: [EventPayload] = [
    .sessionCreated(SessionCreated(harness: .codex, origin: "responses")),
    .sessionCreated(SessionCreated(harness: .claude, persona: "p", origin: "messages", instructions: "be\nbrief")),
    .sessionRewound(toSeq: 12), .sessionForked(from: key("api:parent"), atSeq: 3), .sessionArchived,
    .messageAppended(Message(parts: [])),
    .messageAppended(
      Message(
        role: .assistant,
        parts: [
          .text("a"), .image(dataURL: "data:image/png;base64,AA=="), .file(name: "n.txt", dataURL: "data:,x"),
          .file(name: nil, dataURL: "data:,y"), .image(dataURL: "data:image/png;base64,AA==", detail: "low"),
        ], clientID: "msg_1")),
    .messageAppended(Message(role: .system, parts: [.text("")])),
    .executionQueued(TurnOptions()),
    .executionQueued(TurnOptions(requestedModel: "m", effort: "high", outputSchema: ["type": "object"])),
    .executionStarted(model: "m"), .executionStarted(model: "m", instructions: "Be brief."),
    .executionStarted(model: "m", instructions: ""), .executionCompleted(usage),
    .executionWaiting([], usage),
    .executionWaiting(
      [
        ClientCall(id: ClientCallID(ExecutionID(rawValue: "e1"), 3), name: "look_up", arguments: ["a": [1, nil]]),
        ClientCall(id: ClientCallID(ExecutionID(rawValue: "e1"), 14), name: "b", arguments: .null),
      ], usage),
    .executionResumed(
      [
        ToolOutput(
          call: ClientCallID(ExecutionID(rawValue: "e1"), 3),
          parts: [.text(""), .image(dataURL: "data:image/png;base64,AA=="), .file(name: nil, dataURL: "data:,x")]),
        ToolOutput(call: ClientCallID(ExecutionID(rawValue: "e1"), 14), parts: [], isError: true),
        ToolOutput(call: ClientCallID(ExecutionID(rawValue: "e1"), 15), parts: [], instructions: "Be brief."),
      ], messages: 0),
    .executionResumed([], messages: 2),
    .executionQueued(toolOptions),
    .executionQueued(passingOn),
    .executionFailed(ExecutionFailure(code: "harness_died", message: "It died."), usage),
    .executionCancelled(reason: "user", usage), .usageUpdated(call: Usage(input: 1, output: 2), turn: usage),
    .sandboxReady(SandboxReady(id: "s", backend: "process", origin: .warm, duration: .milliseconds(12))),
    .sandboxReady(SandboxReady(id: "s", backend: "process", origin: .cold, duration: .zero)),
    .sandboxReady(SandboxReady(id: "s", backend: "bubblewrap", origin: .resumed, duration: .seconds(4000))),
    .sandboxReattached(id: "s"), .sandboxLost(id: "s", reason: "died"), .sandboxStopped(id: "s", reason: "idle"),
    .warning(code: "unsupported", message: "ignored"),
    .unrecognized(kind: "moon.rose", ["phase": [1, nil, "full"]]),
  ]

  static let items: [Item] = [
    item(.message(MessageItem())), item(.message(MessageItem(phase: .commentary, text: "looking")), .inProgress),
    item(.message(MessageItem(phase: .final, text: "done\n"))), item(.reasoning(ReasoningItem())),
    item(.reasoning(ReasoningItem(summary: ["a", ""], text: "raw")), .incomplete),
    item(.command(CommandItem(command: "ls")), .inProgress),
    item(
      .command(CommandItem(command: "ls", cwd: "/w", output: "a\n", exitCode: -1, duration: .milliseconds(1500))),
      .failed),
    item(.fileChange(FileChangeItem(changes: []))),
    item(
      .fileChange(
        FileChangeItem(changes: [
          .init(path: "a", kind: .add, diff: "x"), .init(path: "b", kind: .update, movedTo: "c", diff: "@@"),
          .init(path: "d", kind: .delete),
        ]))),
    item(.toolCall(ToolCallItem(name: "t", arguments: ["a": 1], result: ["r": true], origin: .mcp))),
    item(.toolCall(ToolCallItem(name: "t", arguments: "text", origin: .client)), .inProgress),
    item(.toolCall(ToolCallItem(name: "t", arguments: nil, origin: .harness))),
    item(.plan(PlanItem(steps: [.init(text: "one", status: "completed"), .init(text: "two", status: "pending")]))),
    item(.plan(PlanItem(steps: [], text: "just do it"))), item(.webSearch(WebSearchItem(query: "q"))),
    item(.compaction), item(.other(OtherItem(type: "hologram", raw: ["beam": [1, 2]]))),
    item(.other(OtherItem(type: "nothing", raw: nil))),
  ]

  static let deltas: [ItemDelta] = [
    ItemDelta(ordinal: 1, field: .text, text: "a"), ItemDelta(ordinal: 2, field: .summary(3), text: ""),
    ItemDelta(ordinal: 3, field: .reasoningText, text: "é"), ItemDelta(ordinal: 4, field: .output, text: "\n"),
  ]

  static let all =
    payloads + items.flatMap { [.itemStarted($0), .itemCompleted($0)] } + deltas.map(EventPayload.itemDelta)

  @Test("what is written to the log is read from it", arguments: all)
  func roundTrip(_ payload: EventPayload) throws {
    let stored = try JSONValue(parsing: payload.json.serialized)
    let back = try EventPayload(kind: payload.kind, json: stored)
    #expect(back == payload)
    #expect(back.json.serialized == payload.json.serialized)
  }

  @Test("no kind of event is forgotten here, and each has the name by which clients know it")
  func kinds() {
    let kinds = Set(Self.all.map(\.kind)).subtracting(["moon.rose"])
    #expect(
      kinds == [
        "session.created", "session.rewound", "session.forked", "session.archived", "message.appended",
        "execution.queued", "execution.started", "execution.waiting", "execution.resumed", "execution.completed",
        "execution.failed",
        "execution.cancelled", "item.started", "item.delta", "item.completed", "usage.updated", "sandbox.ready",
        "sandbox.reattached", "sandbox.lost", "sandbox.stopped", "warning",
      ])
    let types = Set(Self.items.map(\.typeName))
    #expect(
      types == [
        "message", "reasoning", "command", "file_change", "tool_call", "plan", "web_search", "compaction", "other",
      ])
  }

  @Test("three events end a turn, and no other does")
  func terminal() {
    let terminal = Set(Self.all.filter(\.isTerminal).map(\.kind))
    #expect(terminal == ["execution.completed", "execution.failed", "execution.cancelled"])
  }

  @Test("an item of a kind that this version does not know is kept whole")
  func unknownItem() throws {
    let json: JSONValue = ["item_id": 3, "type": "hologram", "status": "completed", "beam": [1, 2]]
    guard case .itemCompleted(let item) = try EventPayload(kind: "item.completed", json: json) else {
      Issue.record("no item")
      return
    }
    #expect(item == Item(ordinal: 3, status: .completed, content: .other(OtherItem(type: "hologram", raw: json))))
    let again = try EventPayload(kind: "item.completed", json: EventPayload.itemCompleted(item).json)
    #expect(again == .itemCompleted(item))
  }

  @Test("members that a newer version added do not make an event unreadable")
  func addedMembers() throws {
    let json: JSONValue = ["model": "m", "planet": "Mars"]
    #expect(try EventPayload(kind: "execution.started", json: json) == .executionStarted(model: "m"))
  }

  @Test("usage that an older version did not write counts as zero")
  func missingUsage() throws {
    let empty = JSONValue.object(JSONObject())
    #expect(try EventPayload(kind: "execution.completed", json: empty) == .executionCompleted(TurnUsage()))
    #expect(try EventPayload(kind: "usage.updated", json: empty) == .usageUpdated(call: Usage(), turn: TurnUsage()))
  }
}
