import ControlPlane
import Ingress
import SessionModel

@testable import MessagesIngress

/// A request to `/v1/messages`, up to where the control plane would be asked.
enum MessagesTarget {
  static func check(_ input: [UInt8]) throws {
    guard let sent = RequestInput(input) else { return }
    do {
      let request = try MessagesRequest(sent.body)
      try require(MessagesTokens.tokens(of: request.body) > 0, "an estimate of no tokens")
      let reading = TurnReading(request, headers: sent.headers)
      let kind = reading.isClaudeCode ? RequestClass.of(request, sent.headers) : .turn
      guard kind == .turn else {
        var writer = BlockWriter(held: [])
        return try Frames.check(writer.text(SideAnswer(kind: kind, request: request, id: "1").text))
      }
      let read = try reading.input()
      guard !read.isShellOnly else { return }
      let (turn, echo) = try reading.turn(read, of: .local)
      try check(turn, echo)
    } catch let error as CentaurError {
      try Kept.check(error, told: MessagesError.body(error, isClaudeCode: false))
    }
  }

  private static func check(_ turn: TurnRequest, _ echo: MessagesEcho) throws {
    try require(!turn.input.isEmpty || turn.continues, "a turn without input")
    for message in turn.input + turn.history() { try Kept.check(.messageAppended(message)) }
    try Kept.check(.executionQueued(turn.options))
    if case .key(let key) = turn.session { try Kept.check(key) }
    let kept = MessagesEcho(json: try JSONValue(parsing: echo.json.serialized))
    try require(kept.json == echo.json, "an echo that is kept as another")
    var translator = MessagesTranslator(
      messageID: "msg_e1_1", execution: ExecutionID(rawValue: "e1"), echo: kept)
    try Frames.check(translator.start())
  }
}
