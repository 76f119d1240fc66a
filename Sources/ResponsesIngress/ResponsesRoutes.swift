public import ControlPlane
public import Ingress
import HTTPTypes
public import Hummingbird
import Logging
public import SessionModel

/// `POST /v1/responses`, for the Codex CLI and OpenAI's SDKs.
public struct ResponsesRoutes: Sendable {
  private let controlPlane: ControlPlane
  private let clock: WallClock
  private let ids: IdentifierSource
  private let bodyLimit: Int
  private let keepAlive: Duration

  /// - Parameters:
  ///   - bodyLimit: of a request, in bytes
  ///   - keepAlive: how long a stream may be silent; Codex gives up after 300 s and counts only data events
  public init(
    controlPlane: ControlPlane, clock: WallClock, ids: IdentifierSource, bodyLimit: Int, keepAlive: Duration
  ) {
    self.controlPlane = controlPlane
    self.clock = clock
    self.ids = ids
    self.bodyLimit = bodyLimit
    self.keepAlive = keepAlive
  }

  public func add(to router: Router<EdgeRequestContext>) {
    router.post("/v1/responses") { request, context in await respond(request, context) }
    // Codex tries a WebSocket where it is told to, and takes 426 as the advice to use HTTP.
    router.get("/v1/responses") { _, _ in Response(status: .upgradeRequired) }
    known.add(to: router)
    ConversationRoutes(controlPlane: controlPlane, ids: ids, bodyLimit: bodyLimit).add(to: router)
    ContextRoutes(controlPlane: controlPlane, clock: clock, ids: ids, bodyLimit: bodyLimit).add(to: router)
  }

  private var known: KnownResponses { KnownResponses(controlPlane: controlPlane, keepAlive: keepAlive) }

  private func respond(_ request: Request, _ context: EdgeRequestContext) async -> Response {
    let headers = RequestHeaders(request.headers)
    do {
      guard let json = try await JSONBody.read(request, limit: bodyLimit) else {
        throw CentaurError(.invalidJSON, "The body is empty.")
      }
      let body = try ResponsesRequest(json)
      let reading = TurnReading(body, headers: headers)
      let kind = reading.isCodex ? RequestClass.of(body.body, reading.metadata) : .turn
      guard kind == .turn else { return sideAnswer(kind, body, reading.metadata) }
      let (turn, echo) = try reading.turn(of: context.owner)
      let admitted = try await controlPlane.submit(turn)
      if body.isBackground, !body.streams {
        return try await known.show(admitted.reply.wireID, of: context.owner, to: context.client)
      }
      // Codex's echo is this request's: one that comes back may hold more items than the first did.
      let isKnown = admitted.isReplay && !reading.isCodex && admitted.reply.wireID.hasPrefix("resp_")
      let translator = ResponsesTranslator(
        admitted, echo: isKnown ? ReplyEcho(json: admitted.reply.echo) : echo)
      let answer = TurnAnswer(
        admitted, controlPlane: controlPlane, translator: translator, client: await context.client,
        keepAlive: keepAlive, cancelsOnDisconnect: turn.cancelsOnDisconnect)
      guard !body.streams else {
        try await answer.untilBegun()
        return answer.stream(closing: ResponsesEvent.done)
      }
      let whole = try await answer.whole()
      guard case .failed(let failure)? = whole.outcome else {
        return .json(whole.response, headers: answer.headers)
      }
      var failed = ResponsesError.response(
        CentaurError(failure), isCodex: headers.areCodex, responseID: admitted.reply.wireID, now: clock.now)
      failed.headers.append(contentsOf: answer.headers)
      return failed
    } catch is ClientLeft {
      return Response(status: .badRequest)
    } catch {
      if !(error is CentaurError) { context.logger.error("a request failed", metadata: ["error": "\(error)"]) }
      return ResponsesError.response(
        CentaurError(caught: error), isCodex: headers.areCodex, responseID: sideID(), now: clock.now)
    }
  }

  private func sideID() -> String { "resp_side_\(ids.thread())" }

  private func sideAnswer(_ kind: RequestClass, _ body: ResponsesRequest, _ metadata: CodexMetadata) -> Response {
    let (events, response) = SideAnswer(kind, body, metadata, responseID: sideID(), now: clock.now).events()
    return body.streams ? ResponsesEvent.stream(events) : .json(response)
  }
}
