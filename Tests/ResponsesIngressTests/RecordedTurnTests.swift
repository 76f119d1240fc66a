import GoldenFiles
import SampleTurns
import SessionModel
import Testing

@testable import ResponsesIngress

/// What the real harnesses did in their recordings, as Codex is shown it. A failure here means that one of the harnesses
/// breaks the stream of this dialect, or that a change of an adapter changes what people see.
struct RecordedTurnTests {
  static let all = ["codex", "codex-exec", "claude"].flatMap(RecordedTurns.names(of:))

  private static func fold(_ turn: (execution: ExecutionID, events: [SessionEvent])) -> [ResponsesEvent] {
    var translator = ResponsesTranslator(
      responseID: "resp_\(turn.execution)_1", execution: turn.execution,
      createdAt: Timestamp(milliseconds: 1_800_000_000_000),
      echo: ReplyEcho(
        body: ["model": "thread-agent", "store": false], isCodex: true, showsWork: true, showsItems: false,
        heldItemIDs: []))
    return translator.start() + turn.events.flatMap { translator.fold($0) }
  }

  @Test("a recorded turn gives the stream of its golden file", arguments: all)
  func stream(_ name: String) throws {
    let streams = try RecordedTurns(name).turns.map { turn in
      // The response object is in the golden files of the sample turns; here it would drown the rest.
      let lines = Self.fold(turn).map { event in
        guard let response = event.data["response"] else { return event.data.text }
        return "\(event.type) \(response["status"]?.string ?? "") \((response["error"] ?? .null).text)"
      }
      return "# \(turn.execution)\n" + lines.map { "\($0)\n" }.joined()
    }
    try golden.check("turns/\(name)", streams.joined())
  }

  @Test("items follow one another, nothing is called, and each turn comes to one end", arguments: all)
  func order(_ name: String) throws {
    for turn in try RecordedTurns(name).turns {
      let events = Self.fold(turn)
      var open: String?
      var finished = 0
      for event in events {
        switch event.type {
        case "response.output_item.added":
          #expect(open == nil && event.data["output_index"]?.int == finished)
          #expect(["message", "reasoning"].contains(event.data["item"]?["type"]?.string))
          open = event.data["item"]?["id"]?.string
        case "response.output_item.done":
          #expect(open == event.data["item"]?["id"]?.string)
          open = nil
          finished += 1
        default: if let id = event.data["item_id"]?.string { #expect(id == open) }
        }
      }
      #expect(open == nil)
      let ends = events.filter { ["response.completed", "response.failed"].contains($0.type) }
      #expect(ends.count == 1 && events.last?.type == ends.last?.type)
    }
  }
}
