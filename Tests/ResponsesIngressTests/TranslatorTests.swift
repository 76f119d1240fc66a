import Foundation
import GoldenFiles
import SessionModel
import Testing

@testable import ResponsesIngress

/// Logs of turns, folded into what a client sees. A failure here means that a client shows the wrong thing, or that who
/// comes back later sees something else than who stayed.
struct TranslatorTests {
  static let execution = ExecutionID(rawValue: "0190e0")

  /// A turn's events, numbered.
  static func log(_ payloads: [EventPayload]) -> [SessionEvent] {
    payloads.enumerated().map { index, payload in
      SessionEvent(
        seq: Int64(index + 2), sessionID: SessionID(rawValue: "s"), executionID: execution, payload: payload,
        createdAt: Timestamp(milliseconds: 1_800_000_000_000 + Int64(index)))
    }
  }

  static let usage: TurnUsage = {
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

  private static let begun: [EventPayload] = [
    .messageAppended(Message(parts: [.text("do it")])), .executionQueued(TurnOptions()), .executionStarted(model: "m"),
  ]

  private static let end: [EventPayload] = [.executionCompleted(usage)]

  static let logs: [String: [EventPayload]] = [
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

  static let echoes: [String: ReplyEcho] = [
    "codex": ReplyEcho(
      body: ["model": "thread-agent", "reasoning": ["summary": "auto"], "store": false], isCodex: true,
      showsWork: true, showsItems: false, heldItemIDs: []),
    "sdk": ReplyEcho(
      body: ["model": "gpt-5.5", "temperature": 0.5, "metadata": ["a": "b"], "instructions": "be brief"],
      isCodex: false, showsWork: false, showsItems: false, heldItemIDs: []),
    "sdk-items": ReplyEcho(
      body: ["model": "gpt-5.5"], isCodex: false, showsWork: false, showsItems: true, heldItemIDs: []),
  ]

  static let cases: [(log: String, echo: String)] = logs.keys.sorted().flatMap { log in
    echoes.keys.sorted().map { (log, $0) }
  }

  static func translator(_ echo: ReplyEcho) -> ResponsesTranslator {
    ResponsesTranslator(
      responseID: "resp_\(execution)_1", execution: execution,
      createdAt: Timestamp(milliseconds: 1_800_000_000_000), echo: echo)
  }

  static func fold(_ log: [SessionEvent], _ echo: ReplyEcho) -> (events: [ResponsesEvent], response: JSONValue) {
    var translator = translator(echo)
    var events = translator.start()
    for event in log { events += translator.fold(event) }
    return (events, translator.response)
  }

  static func text(_ events: [ResponsesEvent]) -> String {
    events.map { "\($0.data.text)\n" }.joined()
  }

  @Test("a log gives the stream of its golden file", arguments: cases)
  func stream(_ log: String, _ echo: String) throws {
    let folded = Self.fold(Self.log(try #require(Self.logs[log])), try #require(Self.echoes[echo]))
    try golden.check("streams/\(log).\(echo)", Self.text(folded.events))
  }

  @Test("who comes back at any point gets the same bytes as who stayed", arguments: cases)
  func replay(_ log: String, _ echo: String) throws {
    let events = Self.log(try #require(Self.logs[log]))
    let echo = try #require(Self.echoes[echo])
    let whole = Self.text(Self.fold(events, echo).events)
    for cut in 0...events.count {
      // The fold is a value: a copy from the cut goes on as the first one does, and neither knows of the other.
      var live = Self.translator(echo)
      var seen = live.start()
      for event in events[..<cut] { seen += live.fold(event) }
      var copy = live
      var rest: [ResponsesEvent] = []
      for event in events[cut...] { rest += copy.fold(event) }
      #expect(Self.text(seen + rest) == whole)
      // Through the log's own encoding and back it stays the same.
      var replayed = Self.translator(ReplyEcho(json: try JSONValue(parsing: echo.json.text)))
      var again = replayed.start()
      for event in events {
        let payload = try EventPayload(kind: event.payload.kind, json: try JSONValue(parsing: event.payload.json.text))
        again += replayed.fold(
          SessionEvent(
            seq: event.seq, sessionID: event.sessionID, executionID: event.executionID, payload: payload,
            createdAt: event.createdAt))
      }
      #expect(Self.text(again) == whole)
    }
  }

  @Test("items are written one after another, whole, and the output is what was written", arguments: cases)
  func order(_ log: String, _ echo: String) throws {
    let (events, response) = Self.fold(Self.log(try #require(Self.logs[log])), try #require(Self.echoes[echo]))
    var open: String?
    var done: [JSONValue] = []
    for (number, event) in events.enumerated() {
      #expect(event.data["sequence_number"]?.int == number)
      #expect(event.data["type"]?.string == event.type)
      switch event.type {
      case "response.output_item.added":
        #expect(open == nil && event.data["output_index"]?.int == done.count)
        open = event.data["item"]?["id"]?.string
      case "response.output_item.done":
        #expect(open == event.data["item"]?["id"]?.string)
        open = nil
        done.append(event.data["item"] ?? .null)
      case let type where type.hasPrefix("response.output_text") || type.hasPrefix("response.reasoning"):
        #expect(event.data["item_id"]?.string == open)
      default: break
      }
    }
    #expect(open == nil)
    #expect(response["output"]?.array == done)
    #expect(Set(done.compactMap { $0["id"]?.string }).count == done.count)
  }

  @Test("Codex is never given a call to run", arguments: logs.keys.sorted())
  func noCalls(_ log: String) throws {
    let (events, _) = Self.fold(Self.log(try #require(Self.logs[log])), try #require(Self.echoes["codex"]))
    for event in events {
      let type = event.data["item"]?["type"]?.string ?? "message"
      #expect(["message", "reasoning"].contains(type))
    }
  }

  @Test("the answer comes last and is marked as such")
  func answerLast() throws {
    for name in ["text", "commentary-and-answer", "commands-side-by-side", "command-inside-a-message", "other-work"] {
      let response = Self.fold(Self.log(try #require(Self.logs[name])), try #require(Self.echoes["codex"])).response
      let messages = (response["output"]?.array ?? []).filter { $0["type"]?.string == "message" }
      #expect(messages.last?["phase"]?.string == "final_answer", "\(name)")
      #expect(messages.dropLast().allSatisfy { $0["phase"]?.string == "commentary" }, "\(name)")
      #expect(response["output"]?.array?.last?["type"]?.string == "message", "\(name)")
    }
  }

  @Test("what a client holds already is left out of a replay")
  func held() throws {
    let log = Self.log(try #require(Self.logs["commentary-and-answer"]))
    let all = Self.fold(log, try #require(Self.echoes["codex"])).response["output"]?.array ?? []
    for count in 0..<all.count {
      var echo = try #require(Self.echoes["codex"])
      echo.heldItemIDs = all.prefix(count).compactMap { $0["id"]?.string }
      let shown = Self.fold(log, echo).response["output"]?.array ?? []
      #expect(shown == Array(all.dropFirst(count)), "after \(count)")
    }
  }

  @Test("the wire tells the size of the last call's context; the bill is beside it")
  func usage() throws {
    let response = Self.fold(Self.log(try #require(Self.logs["text"])), try #require(Self.echoes["sdk"])).response
    let usage = try #require(response["usage"])
    #expect(usage["input_tokens"]?.int == 1200 && usage["input_tokens_details"]?["cached_tokens"]?.int == 800)
    #expect(usage["output_tokens"]?.int == 50 && usage["output_tokens_details"]?["reasoning_tokens"]?.int == 5)
    #expect(usage["total_tokens"]?.int == 1250)
    #expect(response["centaur_usage"]?["sum"]?["input_tokens"]?.int == 2100)
    #expect(response["centaur_usage"]?["model_calls"]?.int == 2)
  }

  @Test("a keep-alive changes nothing in the fold")
  func keepAlive() throws {
    var translator = Self.translator(try #require(Self.echoes["codex"]))
    _ = translator.start()
    let event = translator.keepAlive
    #expect(event.type == "response.in_progress" && event.data["sequence_number"]?.int == 1)
    #expect(translator.keepAlive == event)
  }

  @Test("events of other turns are not shown")
  func otherTurns() throws {
    var translator = Self.translator(try #require(Self.echoes["codex"]))
    _ = translator.start()
    let event = SessionEvent(
      seq: 9, sessionID: SessionID(rawValue: "s"), executionID: ExecutionID(rawValue: "other"),
      payload: .executionCompleted(Self.usage), createdAt: Timestamp(milliseconds: 0))
    #expect(translator.fold(event).isEmpty && !translator.isFinished)
  }
}
