import ControlPlane
import Ingress
import Logging
import SessionModel

/// What becomes of a request for a response, whichever way it came: read, classified, admitted; and what its client is
/// told where it is refused. `ResponsesRoutes` and `ResponsesSocket` know how that is written.
struct ResponsesReception: Sendable {
  let controlPlane: ControlPlane
  let clock: WallClock
  let ids: IdentifierSource
  let keepAlive: Duration

  enum Admission {
    /// No turn: the events of a stream, and the response where none is wanted.
    case side(events: [ResponsesEvent], response: JSONValue)
    case turn(AdmittedTurn, TurnAnswer<ResponsesTranslator>)
  }

  /// - Parameters:
  ///   - client: who waits for the answer
  ///   - sent: the request as it came, where that may be sent again
  ///   - previous: the response that the client says it continues, where that is not what the request's body says
  /// - Throws: `CentaurError`; then nothing was changed
  func admit(
    _ request: ResponsesRequest, headers: RequestHeaders, caller: Caller, client: ClientPresence,
    sent: SentRequest? = nil, previous: String? = nil
  ) async throws -> Admission {
    var request = request
    if !headers.areCodex {
      request.input = try await ItemReferences(controlPlane: controlPlane, owner: caller.owner).resolved(request.input)
    }
    let reading = TurnReading(request, headers: headers)
    let kind = reading.isCodex ? RequestClass.of(request.body, reading.metadata) : .turn
    guard kind == .turn else { return side(kind, reading) }
    var (turn, echo) = try reading.turn(of: caller.owner)
    turn.sent = sent
    if let previous {
      echo.fields["previous_response_id"] = .string(previous)
      turn.echo = echo.json
      // Its socket knows which ones it may name.
      turn.continuesUnkept = true
    }
    let admitted = try await controlPlane.submit(turn, within: caller.allowance)
    // Codex's echo is this request's: one that comes back may hold more items than the first did.
    let isKnown = admitted.isReplay && !reading.isCodex && admitted.reply.wireID.hasPrefix("resp_")
    let answer = TurnAnswer(
      admitted, controlPlane: controlPlane,
      translator: ResponsesTranslator(admitted, echo: isKnown ? ReplyEcho(json: admitted.reply.echo) : echo),
      client: client, keepAlive: keepAlive, cancelsOnDisconnect: turn.cancelsOnDisconnect)
    return .turn(admitted, answer)
  }

  /// A response that is over at once and whose id may be continued: nothing is done for it. It echoes what it was asked
  /// for, so a program's is held to what a turn's request is.
  /// - Throws: `CentaurError`
  func warmUp(_ request: ResponsesRequest, headers: RequestHeaders) throws(CentaurError) -> Admission {
    let reading = TurnReading(request, headers: headers)
    if !reading.isCodex {
      try RequestFields.check(request.body)
      _ = try FunctionTools.offered(in: request.body)
    }
    return side(.prewarm, reading)
  }

  private func side(_ kind: RequestClass, _ reading: TurnReading) -> Admission {
    let (events, response) = SideAnswer(kind, reading, responseID: sideID(), now: clock.now).events()
    return .side(events: events, response: response)
  }

  private func sideID() -> String { "resp_side_\(ids.thread())" }

  /// Whether a response can be continued by whoever knows its id: it is there, and its client wanted it kept.
  func isKept(_ id: String, of owner: Owner) async throws -> Bool {
    do {
      _ = try await controlPlane.turn(owner: owner, replyID: id, isFollowed: false)
      return true
    } catch let error as CentaurError where error.code == .responseNotFound {
      return false
    }
  }

  /// What the client is told of an error; one that is not for it is logged.
  func refusal(_ error: any Error, isCodex: Bool, responseID: String? = nil, logger: Logger) -> ResponsesError.Refusal {
    if !(error is CentaurError) { logger.error("a request failed", metadata: ["error": "\(error)"]) }
    return ResponsesError.refusal(
      CentaurError(caught: error), isCodex: isCodex, responseID: responseID ?? sideID(), now: clock.now)
  }
}
