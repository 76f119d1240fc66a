import Foundation
import GoldenFiles
import SampleTurns
import SessionModel
import Testing

@testable import ResponsesIngress

/// Logs of turns, folded into what a client sees. A failure here means that a client shows the wrong thing, or that who
/// comes back later sees something else than who stayed.
struct TranslatorTests {
  static let echoes: [String: ReplyEcho] = [
    "codex": ReplyEcho(
      body: ["model": "thread-agent", "reasoning": ["summary": "auto"], "store": false], isCodex: true,
      showsWork: true, showsItems: false, heldItemIDs: []),
    "sdk": ReplyEcho(
      body: ["model": "gpt-5.5", "temperature": 0.5, "metadata": ["a": "b"], "instructions": "be brief"],
      isCodex: false, showsWork: false, showsItems: false, heldItemIDs: []),
    "sdk-work": ReplyEcho(
      body: ["model": "gpt-5.5", "reasoning": ["summary": "auto"]], isCodex: false, showsWork: true, showsItems: false,
      heldItemIDs: []),
    "sdk-items": ReplyEcho(
      body: ["model": "gpt-5.5"], isCodex: false, showsWork: false, showsItems: true, heldItemIDs: []),
  ]

  static let cases: [(log: String, echo: String)] = SampleTurns.all.keys.sorted().flatMap { log in
    echoes.keys.sorted().map { (log, $0) }
  }

  static func translator(_ echo: ReplyEcho) -> ResponsesTranslator {
    ResponsesTranslator(
      responseID: "resp_\(SampleTurns.execution)_1", execution: SampleTurns.execution,
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
    let folded = Self.fold(SampleTurns.log(try #require(SampleTurns.all[log])), try #require(Self.echoes[echo]))
    try golden.check("streams/\(log).\(echo)", Self.text(folded.events))
  }

  @Test("who comes back at any point gets the same bytes as who stayed", arguments: cases)
  func replay(_ log: String, _ echo: String) throws {
    let events = SampleTurns.log(try #require(SampleTurns.all[log]))
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
    let (events, response) = Self.fold(
      SampleTurns.log(try #require(SampleTurns.all[log])), try #require(Self.echoes[echo]))
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

  @Test("Codex is never given a call to run", arguments: SampleTurns.all.keys.sorted())
  func noCalls(_ log: String) throws {
    let (events, _) = Self.fold(SampleTurns.log(try #require(SampleTurns.all[log])), try #require(Self.echoes["codex"]))
    for event in events {
      let type = event.data["item"]?["type"]?.string ?? "message"
      #expect(["message", "reasoning"].contains(type))
    }
  }

  @Test("the answer comes last and is marked as such")
  func answerLast() throws {
    for name in ["text", "commentary-and-answer", "commands-side-by-side", "command-inside-a-message", "other-work"] {
      let response = Self.fold(SampleTurns.log(try #require(SampleTurns.all[name])), try #require(Self.echoes["codex"]))
        .response
      let messages = (response["output"]?.array ?? []).filter { $0["type"]?.string == "message" }
      #expect(messages.last?["phase"]?.string == "final_answer", "\(name)")
      #expect(messages.dropLast().allSatisfy { $0["phase"]?.string == "commentary" }, "\(name)")
      #expect(response["output"]?.array?.last?["type"]?.string == "message", "\(name)")
    }
  }

  @Test("a program's messages are the agent's own words, what was said on the way apart from what follows it")
  func ownWords() throws {
    let said = [
      "text": "Hello there.", "commentary-and-answer": "Let me look.\n\nTwo files.",
      "phases-of-the-harness": "Looking.\n\nFound.", "commands-side-by-side": "Slept.",
      "command-inside-a-message": "While waiting.\n\nDone.", "other-work": "All done.", "client-calls": "Let me ask.",
      "failed-inside-a-message": "Half of\n\n", "cancelled": "", "command-that-outlives-its-turn": "It serves.",
    ]
    for echo in ["sdk", "sdk-work"] {
      for (name, words) in said {
        let (events, response) = Self.fold(
          SampleTurns.log(try #require(SampleTurns.all[name])), try #require(Self.echoes[echo]))
        let messages = (response["output"]?.array ?? []).filter { $0["type"]?.string == "message" }
        let texts = messages.flatMap { $0["content"]?.array ?? [] }.compactMap { $0["text"]?.string }
        #expect(texts.joined() == words, "\(name), \(echo)")
        let pieces = events.filter { $0.type == "response.output_text.delta" }.compactMap { $0.data["delta"]?.string }
        #expect(pieces.joined() == words, "\(name), \(echo)")
      }
    }
  }

  @Test("what came of each piece of work is told a program once, in a summary")
  func outcomes() throws {
    for (name, notes) in [
      ("commands-side-by-side", ["Ran `sleep 1` → exit 0 (2 s)", "Ran `sleep 2` → exit 0 (2 s)"]),
      ("other-work", ["Used `lookup`", "Searched the web for “swift 6”", #"`hologram` {"beam":7}"#]),
    ] {
      let response = Self.fold(
        SampleTurns.log(try #require(SampleTurns.all[name])), try #require(Self.echoes["sdk-work"])
      ).response
      let parts = (response["output"]?.array ?? []).flatMap { $0["summary"]?.array ?? [] }
      let texts = parts.compactMap { $0["text"]?.string }.filter { !$0.hasPrefix("**") }
      #expect(texts == notes, "\(name)")
    }
  }

  @Test("what a client holds already is left out of a replay")
  func held() throws {
    let log = SampleTurns.log(try #require(SampleTurns.all["commentary-and-answer"]))
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
    let response = Self.fold(SampleTurns.log(try #require(SampleTurns.all["text"])), try #require(Self.echoes["sdk"]))
      .response
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
      payload: .executionCompleted(SampleTurns.usage), createdAt: Timestamp(milliseconds: 0))
    #expect(translator.fold(event).isEmpty && !translator.isFinished)
  }

  @Test(
    "a turn that calls the client's functions is one response up to the call, and one behind it, each with its cost")
  func calls() throws {
    let log = SampleTurns.log(try #require(SampleTurns.all["client-calls"]))
    let echo = try #require(Self.echoes["sdk"])
    #expect(log.first { $0.seq == SampleTurns.waitingSeq }?.payload.kind == "execution.waiting")
    let first = Self.fold(log, echo).response
    #expect(first["status"] == "completed")
    let types = first["output"]?.array?.compactMap { $0["type"]?.string }
    #expect(types == ["message", "function_call"])
    let call = try #require(first["output"]?.array?.last)
    #expect(call["call_id"]?.string == "call_\(SampleTurns.execution)_2")
    #expect(call["arguments"]?.string == #"{"city":"Bern"}"#)
    #expect(first["output"]?.array?.first?["phase"] == "commentary")
    #expect(first["usage"]?["output_tokens"]?.int == 50)
    var second = ResponsesTranslator(
      responseID: "resp_2", execution: SampleTurns.execution, createdAt: Timestamp(milliseconds: 0), echo: echo,
      afterSeq: SampleTurns.waitingSeq)
    // Whether it is given what came before or not.
    for event in log { _ = second.fold(event) }
    #expect(second.response["output"]?.array?.count == 1)
    #expect(second.response["output"]?.array?.first?["content"]?.array?.first?["text"] == "It is sunny.")
    #expect(second.response["usage"]?["output_tokens"]?.int == 7)
    #expect(second.response["usage"]?["input_tokens"]?.int == 1300)
  }
}
