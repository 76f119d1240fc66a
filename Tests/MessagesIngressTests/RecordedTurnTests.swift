import GoldenFiles
import SampleTurns
import SessionModel
import Testing

@testable import MessagesIngress

/// What both real harnesses did in their recordings, as Claude Code is shown it. A failure here means that one of the
/// harnesses breaks the stream of this dialect, or that a change of an adapter changes what people see.
struct RecordedTurnTests {
  static let all = ["codex", "codex-exec", "claude"].flatMap(RecordedTurns.names(of:))

  private static func fold(_ turn: (execution: ExecutionID, events: [SessionEvent])) -> [MessagesEvent] {
    var translator = MessagesTranslator(
      messageID: "msg_\(turn.execution)_1", execution: turn.execution,
      echo: MessagesEcho(model: "claude-opus-5-5", isClaudeCode: true, showsThinking: true, showsWork: true))
    return translator.start() + turn.events.flatMap { translator.fold($0) }
  }

  @Test("a recorded turn gives the stream of its golden file", arguments: all)
  func stream(_ name: String) throws {
    let streams = try RecordedTurns(name).turns.map { turn in
      "# \(turn.execution)\n" + Self.fold(turn).map { "\($0.data.text)\n" }.joined()
    }
    try golden.check("turns/\(name)", streams.joined())
  }

  @Test("blocks follow one another, and each turn comes to one end", arguments: all)
  func order(_ name: String) throws {
    for turn in try RecordedTurns(name).turns {
      let events = Self.fold(turn)
      var open: Int?
      var finished = 0
      for event in events {
        switch event.type {
        case "content_block_start":
          #expect(open == nil && event.data["index"]?.int == finished)
          #expect(["text", "thinking"].contains(event.data["content_block"]?["type"]?.string))
          open = finished
        case "content_block_delta": #expect(event.data["index"]?.int == open)
        case "content_block_stop":
          #expect(event.data["index"]?.int == open)
          open = nil
          finished += 1
        default: break
        }
      }
      #expect(open == nil && finished > 0)
      #expect(events.count { $0.type == "message_stop" || $0.type == "error" } == 1)
      #expect(["message_stop", "error"].contains(events.last?.type))
    }
  }
}
