import ControlPlane
import Ingress
import SessionModel

@testable import ResponsesIngress

/// A request to `/v1/responses`, up to where the control plane would be asked.
enum ResponsesTarget {
  static func check(_ input: [UInt8]) throws {
    guard let sent = RequestInput(input) else { return }
    do {
      let request = try ResponsesRequest(sent.body)
      let reading = TurnReading(request, headers: sent.headers)
      let kind = reading.isCodex ? RequestClass.of(request.body, reading.metadata) : .turn
      guard kind == .turn else {
        let answer = SideAnswer(kind, reading, responseID: "resp_side_1", now: Timestamp(milliseconds: 0))
        return try Frames.check(answer.events().events)
      }
      let (turn, echo) = try reading.turn(of: .local)
      try check(turn, echo)
    } catch let error as CentaurError {
      try Kept.check(error, told: ResponsesError.body(error))
    }
  }

  private static func check(_ turn: TurnRequest, _ echo: ReplyEcho) throws {
    try require(!turn.input.isEmpty, "a turn without input")
    for message in turn.input + turn.history() { try Kept.check(.messageAppended(message)) }
    try Kept.check(.executionQueued(turn.options))
    if case .key(let key) = turn.session { try Kept.check(key) }
    let kept = ReplyEcho(json: try JSONValue(parsing: echo.json.serialized))
    try require(kept.json == echo.json, "an echo that is kept as another")
    var translator = ResponsesTranslator(
      responseID: "resp_e1_1", execution: ExecutionID(rawValue: "e1"), createdAt: Timestamp(milliseconds: 0), echo: kept
    )
    try Frames.check(translator.start())
  }
}
