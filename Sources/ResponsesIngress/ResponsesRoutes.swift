public import ControlPlane
public import Ingress
import HTTPTypes
public import Hummingbird
import Logging
public import SessionModel

/// `/v1/responses` over HTTP and as a WebSocket, for the Codex CLI and OpenAI's SDKs.
public struct ResponsesRoutes: Sendable {
  private let reception: ResponsesReception
  private let bodyLimit: Int
  private let socketLimits: ResponsesSocketLimits

  /// - Parameters:
  ///   - bodyLimit: of a request, in bytes
  ///   - keepAlive: how long a stream may be silent; Codex gives up after 300 s and counts only data events
  public init(
    controlPlane: ControlPlane, clock: WallClock, ids: IdentifierSource, bodyLimit: Int, keepAlive: Duration,
    socketLimits: ResponsesSocketLimits
  ) {
    reception = ResponsesReception(controlPlane: controlPlane, clock: clock, ids: ids, keepAlive: keepAlive)
    self.bodyLimit = bodyLimit
    self.socketLimits = socketLimits
  }

  public func add(to router: Router<EdgeRequestContext>) {
    router.post("/v1/responses") { request, context in await respond(request, context) }
    router.get("/v1/responses") { request, context in
      // Codex takes 426 as the advice to use HTTP.
      guard WebSocketExchange.isPossible(for: request) else { return WebSocketExchange.upgradeRequired }
      let socket = ResponsesSocket(
        reception, headers: RequestHeaders(request.headers), caller: context.caller,
        client: ClientPresence(within: await context.client), limits: socketLimits, messageLimit: bodyLimit,
        logger: context.logger)
      return try WebSocketExchange.response(to: request) { writer in
        await socket.serve(request.body, to: &writer)
      }
    }
    known.add(to: router)
    ConversationRoutes(controlPlane: reception.controlPlane, ids: reception.ids, bodyLimit: bodyLimit).add(to: router)
    ContextRoutes(
      controlPlane: reception.controlPlane, clock: reception.clock, ids: reception.ids, bodyLimit: bodyLimit
    ).add(to: router)
  }

  private var known: KnownResponses {
    KnownResponses(controlPlane: reception.controlPlane, keepAlive: reception.keepAlive)
  }

  private func respond(_ request: Request, _ context: EdgeRequestContext) async -> Response {
    let headers = RequestHeaders(request.headers)
    do {
      let bytes = try await JSONBody.bytes(of: request, limit: bodyLimit)
      guard let json = try JSONBody.parse(bytes, request.headers) else {
        throw CentaurError(.invalidJSON, "The body is empty.")
      }
      let body = try ResponsesRequest(json)
      let sent =
        headers.areCodex ? nil : SentRequest(headers, route: "/v1/responses", owner: context.owner, body: bytes)
      let admission = try await reception.admit(
        body, headers: headers, caller: context.caller, client: await context.client, sent: sent)
      switch admission {
      case .side(let events, let response):
        return body.streams ? ResponsesEvent.stream(events) : .json(response)
      case .turn(let admitted, _) where body.isBackground && !body.streams:
        return try await known.show(admitted.reply.wireID, of: context.owner, to: context.client).telling(admitted)
      case .turn(let admitted, let answer) where body.streams:
        try await answer.untilBegun()
        return answer.stream(closing: ResponsesEvent.done).telling(admitted)
      case .turn(let admitted, let answer):
        let whole = try await answer.whole()
        guard case .failed(let failure)? = whole.outcome else {
          return Response.json(whole.response, headers: answer.headers).telling(admitted)
        }
        var failed = refused(CentaurError(failure), headers, context, responseID: admitted.reply.wireID)
        failed.headers.append(contentsOf: answer.headers)
        return failed.telling(admitted)
      }
    } catch is ClientLeft {
      return Response(status: .badRequest)
    } catch {
      return refused(error, headers, context)
    }
  }

  private func refused(
    _ error: any Error, _ headers: RequestHeaders, _ context: EdgeRequestContext, responseID: String? = nil
  ) -> Response {
    let refusal = reception.refusal(
      error, isCodex: headers.areCodex, responseID: responseID, logger: context.logger)
    return switch refusal {
    case .status(let error, let status): ResponsesError.response(error, status)
    case .stream(let events): ResponsesEvent.stream(events)
    }
  }
}
