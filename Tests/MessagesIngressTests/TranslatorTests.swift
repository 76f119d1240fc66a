import Foundation
import GoldenFiles
import SampleTurns
import SessionModel
import Testing

@testable import MessagesIngress

/// Logs of turns, folded into what a client sees. A failure here means that a client shows the wrong thing, runs what it
/// must not, or that who comes back later sees something else than who stayed.
struct TranslatorTests {
  static let echoes: [String: MessagesEcho] = [
    "claude-code": MessagesEcho(model: "claude-opus-5-5", isClaudeCode: true, showsThinking: true, showsWork: true),
    "sdk": MessagesEcho(model: "m", isClaudeCode: false),
    "sdk-thinking": MessagesEcho(model: "m", isClaudeCode: false, showsThinking: true, showsWork: true),
  ]

  static let cases: [(log: String, echo: String)] = SampleTurns.all.keys.sorted().flatMap { log in
    echoes.keys.sorted().map { (log, $0) }
  }

  static func translator(_ echo: MessagesEcho) -> MessagesTranslator {
    MessagesTranslator(messageID: "msg_\(SampleTurns.execution)_1", execution: SampleTurns.execution, echo: echo)
  }

  static func fold(_ log: [SessionEvent], _ echo: MessagesEcho) -> (events: [MessagesEvent], response: JSONValue) {
    var translator = translator(echo)
    var events = translator.start()
    for event in log { events += translator.fold(event) }
    return (events, translator.response)
  }

  private static func turn(_ name: String) throws -> [SessionEvent] {
    SampleTurns.log(try #require(SampleTurns.all[name]))
  }

  static func text(_ events: [MessagesEvent]) -> String { events.map { "\($0.data.text)\n" }.joined() }

  @Test("a log gives the stream of its golden file", arguments: cases)
  func stream(_ log: String, _ echo: String) throws {
    let folded = Self.fold(try Self.turn(log), try #require(Self.echoes[echo]))
    try golden.check("streams/\(log).\(echo)", Self.text(folded.events))
  }

  @Test("who comes back at any point gets the same bytes as who stayed", arguments: cases)
  func replay(_ log: String, _ echo: String) throws {
    let events = try Self.turn(log)
    let echo = try #require(Self.echoes[echo])
    let whole = Self.text(Self.fold(events, echo).events)
    for cut in 0...events.count {
      var live = Self.translator(echo)
      var seen = live.start()
      for event in events[..<cut] { seen += live.fold(event) }
      var copy = live
      for event in events[cut...] { seen += copy.fold(event) }
      #expect(Self.text(seen) == whole)
    }
    // Through the log's own encoding and back it stays the same.
    let stored = try events.map { event in
      SessionEvent(
        seq: event.seq, sessionID: event.sessionID, executionID: event.executionID,
        payload: try EventPayload(kind: event.payload.kind, json: try JSONValue(parsing: event.payload.json.text)),
        createdAt: event.createdAt)
    }
    let kept = MessagesEcho(json: try JSONValue(parsing: echo.json.text))
    #expect(Self.text(Self.fold(stored, kept).events) == whole)
  }

  @Test("blocks are written one after another, whole, and the message is what was written", arguments: cases)
  func order(_ log: String, _ echo: String) throws {
    let (events, response) = Self.fold(try Self.turn(log), try #require(Self.echoes[echo]))
    #expect(events.first?.type == "message_start")
    var open: (index: Int, type: String, text: String)?
    var finished = 0
    for event in events {
      switch event.type {
      case "content_block_start":
        #expect(open == nil && event.data["index"]?.int == finished)
        let block = event.data["content_block"] ?? .null
        // A client drops what stands in the start.
        #expect((block["text"] ?? block["thinking"])?.string == "" || block["input"]?.object?.isEmpty == true)
        open = (finished, block["type"]?.string ?? "", "")
      case "content_block_delta":
        #expect(event.data["index"]?.int == open?.index)
        let delta = event.data["delta"] ?? .null
        let text = (delta["text"] ?? delta["thinking"] ?? delta["partial_json"])?.string ?? ""
        #expect(!text.isEmpty || delta["type"]?.string == "signature_delta")
        open?.text += text
      case "content_block_stop":
        #expect(event.data["index"]?.int == open?.index && open?.text.isEmpty == false)
        open = nil
        finished += 1
      default: break
      }
    }
    #expect(open == nil)
    if events.last?.type == "message_stop" { #expect(response["content"]?.array?.count == finished) }
  }

  @Test(
    "a turn that is done ends with one text that is not empty; one that waits for a program with its call",
    arguments: cases)
  func answer(_ log: String, _ echo: String) throws {
    let (events, response) = Self.fold(try Self.turn(log), try #require(Self.echoes[echo]))
    guard events.last?.type == "message_stop" else { return }
    let last = response["content"]?.array?.last
    if log == "client-calls", echo != "claude-code" {
      #expect(last?["type"] == "tool_use" && last?["id"]?.string == "toolu_\(SampleTurns.execution)_2")
      #expect(last?["input"]?["city"] == "Bern" && response["stop_reason"]?.string == "tool_use")
      return
    }
    #expect(last?["type"]?.string == "text" && last?["text"]?.string?.isEmpty == false)
    #expect(response["stop_reason"]?.string == "end_turn")
  }

  @Test("Claude Code is never given a tool to run", arguments: SampleTurns.all.keys.sorted())
  func noTools(_ log: String) throws {
    for event in Self.fold(try Self.turn(log), try #require(Self.echoes["claude-code"])).events {
      let type = event.data["content_block"]?["type"]?.string ?? "text"
      #expect(["text", "thinking"].contains(type))
    }
  }

  @Test("only the answer reaches a program that did not ask for thinking")
  func programs() throws {
    let response = Self.fold(try Self.turn("failed-command"), try #require(Self.echoes["sdk"])).response
    #expect(response["content"]?.array?.compactMap { $0["text"]?.string } == ["It fails."])
  }

  @Test("a failure stops Claude Code: behind a finished block, with our sentence, as a request that is of no use")
  func failure() throws {
    for name in ["failed-before-output", "failed-inside-a-message", "cancelled"] {
      let events = Self.fold(try Self.turn(name), try #require(Self.echoes["claude-code"])).events
      let last = try #require(events.last)
      #expect(last.type == "error" && last.data["error"]?["type"]?.string == "invalid_request_error", "\(name)")
      #expect(events.dropLast().last?.type == "content_block_stop", "\(name)")
    }
    let events = Self.fold(try Self.turn("failed-before-output"), try #require(Self.echoes["sdk"])).events
    #expect(events.last?.data["error"]?["type"]?.string == "api_error")
    #expect(events.count == 3)
  }

  @Test("what a client has already is left out when the answer is told on")
  func held() throws {
    let turn = try Self.turn("commentary-and-answer")
    let all = Self.fold(turn, try #require(Self.echoes["claude-code"])).response["content"]?.array ?? []
    let texts = all.compactMap { $0["text"]?.string }
    for count in 0..<texts.count {
      var echo = try #require(Self.echoes["claude-code"])
      echo.heldTexts = Array(texts.prefix(count))
      let shown = Self.fold(turn, echo).response["content"]?.array ?? []
      #expect(shown.compactMap { $0["text"]?.string } == Array(texts.dropFirst(count)))
    }
    // Who has all of it still needs an end that is not empty.
    var echo = try #require(Self.echoes["claude-code"])
    echo.heldTexts = texts
    let shown = Self.fold(turn, echo).response["content"]?.array ?? []
    #expect(shown.compactMap { $0["text"]?.string } == Array(texts.suffix(1)))
    // What is not the same is not left out.
    echo.heldTexts = ["something else"]
    #expect(Self.fold(turn, echo).response["content"]?.array == all)
  }

  /// Where pieces end inside what Swift takes for one character.
  static let cuts: [(piece: String, whole: String)] = [
    ("a\r", "a\r\nb"), ("e", "e\u{301}!"), ("👩", "👩\u{200D}💻 works"), ("", "all at the end"), ("whole", "whole"),
  ]

  @Test("a text whose pieces end inside a character comes whole", arguments: cuts)
  func cutCharacters(_ cut: (piece: String, whole: String)) throws {
    let begun = Item(ordinal: 1, status: .inProgress, content: .message(MessageItem()))
    let item = Item(ordinal: 1, status: .completed, content: .message(MessageItem(text: cut.whole)))
    let piece = ItemDelta(ordinal: 1, field: .text, text: cut.piece)
    let log = SampleTurns.log([
      .itemStarted(begun), .itemDelta(piece), .itemCompleted(item), .executionCompleted(TurnUsage()),
    ])
    for name in Self.echoes.keys {
      let (events, response) = Self.fold(log, try #require(Self.echoes[name]))
      let pieces = events.compactMap { $0.data["delta"]?["text"]?.string }
      // Swift compares characters, which may be equal where the bytes are not.
      #expect(Array(pieces.joined().utf8) == Array(cut.whole.utf8), "\(name)")
      #expect(Array((response["content"]?[0]?["text"]?.string ?? "").utf8) == Array(cut.whole.utf8), "\(name)")
    }
  }

  @Test("a structured answer comes by the client's own tool, and anything else as text")
  func structured() throws {
    var echo = try #require(Self.echoes["claude-code"])
    echo.hasStructuredOutput = true
    func answer(_ text: String) -> JSONValue {
      let item = Item(ordinal: 1, status: .completed, content: .message(MessageItem(text: text)))
      let begun = Item(ordinal: 1, status: .inProgress, content: .message(MessageItem()))
      let turn: [EventPayload] = [.itemStarted(begun), .itemCompleted(item), .executionCompleted(TurnUsage())]
      return Self.fold(SampleTurns.log(turn), echo).response
    }
    let call = answer(#"{"n":3}"#)
    #expect(call["stop_reason"]?.string == "tool_use")
    #expect(call["content"]?.array?.map { $0["name"]?.string } == ["StructuredOutput"])
    #expect(call["content"]?[0]?["input"] == ["n": 3])
    let words = answer("three")
    #expect(words["stop_reason"]?.string == "end_turn" && words["content"]?[0]?["text"]?.string == "three")
  }

  @Test("a figure that would lock Claude Code's user out is clamped; a program is told the truth")
  func usage() throws {
    var usage = TurnUsage()
    usage.add(Usage(input: 900_000, cachedInput: 800_000, cacheWrite: 90_000, output: 500, reasoning: 0))
    let log = SampleTurns.log([.executionCompleted(usage)])
    let clamped = Self.fold(log, try #require(Self.echoes["claude-code"])).response["usage"] ?? .null
    let names = ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens"]
    #expect(names.compactMap { clamped[$0]?.int }.reduce(0, +) == 150_000)
    let told = Self.fold(log, try #require(Self.echoes["sdk"])).response
    #expect(names.compactMap { told["usage"]?[$0]?.int } == [10_000, 90_000, 800_000, 500])
    #expect(told["centaur_usage"]?["sum"]?["input_tokens"]?.int == 900_000)
  }

  @Test("a conversation that was taken back goes on with a note in the first text")
  func rewound() throws {
    let warning = EventPayload.warning(code: EventPayload.notRewoundCode, message: "It goes on from where it is.")
    let turn = try #require(SampleTurns.all["text"])
    let log = SampleTurns.log([warning] + turn)
    let content = Self.fold(log, try #require(Self.echoes["claude-code"])).response["content"]?.array ?? []
    #expect(content.compactMap { $0["text"]?.string } == ["It goes on from where it is.", "Hello there."])
  }
}
