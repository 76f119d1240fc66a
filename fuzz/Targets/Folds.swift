import Ingress
import NIOCore
import SessionModel

@testable import MessagesIngress
@testable import ResponsesIngress
@testable import SessionAPI

/// One turn's events in every dialect, as each kind of client gets them.
enum Folds {
  static func check(_ events: [SessionEvent], of execution: ExecutionID) throws {
    for event in events { try Frames.check(EventStreamResponse.frame(event)) }
    let stored = try events.map { event in
      SessionEvent(
        seq: event.seq, sessionID: event.sessionID, executionID: event.executionID,
        payload: try EventPayload(
          kind: event.payload.kind, json: JSONValue(parsing: event.payload.json.serialized)),
        createdAt: event.createdAt, source: event.source)
    }
    for (isCodex, showsWork, showsItems) in [(true, true, false), (false, true, true), (false, false, false)] {
      let echo = ReplyEcho(
        body: ["model": "m"], isCodex: isCodex, showsWork: showsWork, showsItems: showsItems, heldItemIDs: [])
      let begun = ResponsesTranslator(
        responseID: "resp_\(execution)_1", execution: execution, createdAt: Timestamp(milliseconds: 0), echo: echo)
      let live = folded(begun, events)
      try Frames.check(live)
      try require(folded(begun, stored) == live, "a replay that is not what was live")
      try checkResponse(live)
      let last = live.count / 2
      try require(
        folded(ResumedTranslator(begun, after: last), stored) == live.filter { $0.sequence > last },
        "a stream that goes on elsewhere")
    }
    for isClaudeCode in [true, false] {
      let echo = MessagesEcho(
        model: "m", isClaudeCode: isClaudeCode, showsThinking: isClaudeCode, showsWork: isClaudeCode)
      let begun = MessagesTranslator(messageID: "msg_\(execution)_1", execution: execution, echo: echo)
      let live = folded(begun, events)
      try Frames.check(live)
      try require(folded(begun, stored) == live, "a replay that is not what was live")
      try checkMessage(live)
    }
  }

  private static func folded<T: TurnTranslator>(_ begun: T, _ events: [SessionEvent]) -> [T.Event] {
    var translator = begun
    return translator.start() + events.flatMap { translator.fold($0) }
  }

  /// One item at a time, numbers without gaps, and one end, which is last.
  private static func checkResponse(_ events: [ResponsesEvent]) throws {
    try require(events.map(\.sequence) == Array(events.indices), "events that are not numbered one by one")
    var open: String?
    var finished = 0
    var pieces = ""
    for event in events {
      switch event.type {
      case "response.output_text.delta": pieces += event.data["delta"]?.string ?? ""
      case "response.output_text.done":
        let text = event.data["text"]?.string ?? ""
        // A harness may contradict itself, but no piece is left out.
        try require(
          text.utf8.elementsEqual(pieces.utf8) || !text.utf8.starts(with: pieces.utf8), "pieces that lack their end")
      default: break
      }
      switch event.type {
      case "response.output_item.added":
        pieces = ""
        try require(open == nil && event.data["output_index"]?.int == finished, "an item inside another")
        open = event.data["item"]?["id"]?.string ?? ""
      case "response.output_item.done":
        try require(open == event.data["item"]?["id"]?.string ?? "", "the end of an item that is not open")
        open = nil
        finished += 1
      default:
        guard let id = event.data["item_id"]?.string else { continue }
        try require(id == open, "a piece of an item that is not open")
      }
    }
    try require(open == nil, "an item that is left open")
    let ends: Set = ["response.completed", "response.failed", "response.incomplete"]
    try require(events.count { ends.contains($0.type) } == 1, "a response without its one end")
    try require(ends.contains(events.last?.type ?? ""), "something behind a response's end")
  }

  /// One block at a time, and one end, which is last.
  private static func checkMessage(_ events: [MessagesEvent]) throws {
    var open: Int?
    var finished = 0
    for event in events {
      let index = event.data["index"]?.int
      switch event.type {
      case "content_block_start":
        try require(open == nil && index == finished, "a block inside another")
        open = index
      case "content_block_delta": try require(open != nil && index == open, "a piece of a block that is not open")
      case "content_block_stop":
        try require(open != nil && index == open, "the end of a block that is not open")
        open = nil
        finished += 1
      default: continue
      }
    }
    try require(open == nil, "a block that is left open")
    try require(events.count { ["message_stop", "error"].contains($0.type) } == 1, "a message without its one end")
    try require(["message_stop", "error"].contains(events.last?.type ?? ""), "something behind a message's end")
  }
}
