import ControlPlane
import Ingress
import HTTPTypes
import Hummingbird
import Logging
import MessagesIngress
import NIOCore
import ResponsesIngress
import SessionAPI
import SessionModel

/// The router: every dialect's routes, and what belongs to none.
struct ServerRoutes {
  let configuration: ServerConfiguration
  let controlPlane: ControlPlane
  let store: any SessionStore
  let keys: any KeyStore
  let uses: KeyUses
  let clock: WallClock
  let ids: IdentifierSource
  let metrics: PrometheusMetrics
  let connections: ConnectionCount

  func router() -> Router<EdgeRequestContext> {
    let router = Router(context: EdgeRequestContext.self)
    router.add(middleware: RequestErrors(ids: ids, clock: clock))
    router.add(middleware: AmbiguousRequests())
    router.add(middleware: ConnectionLimit(connections: connections))
    router.add(middleware: KeyedRequests(keys: keys, uses: uses))
    router.add(middleware: ForeignRequests(hosts: configuration.hosts))
    router.get("/healthz") { _, _ in plain("ok\n") }
    router.get("/readyz") { _, _ in
      // The store answers: that is what a request needs first.
      _ = try await store.sessions(owner: .local, before: nil, limit: 1)
      return plain("ready\n")
    }
    router.get("/metrics") { _, context in
      // Sums over all owners are for whoever runs the server; to the others there is no such route.
      guard context.owner == .local else { throw HTTPError(.notFound) }
      return plain(metrics.text, type: "text/plain; version=0.0.4; charset=utf-8")
    }
    let models = Set(configuration.harnesses.values.flatMap(\.models)).sorted()
    let limits = configuration.limits
    ModelRoutes(models: models).add(to: router)
    ResponsesRoutes(
      controlPlane: controlPlane, clock: clock, ids: ids, bodyLimit: limits.body, keepAlive: limits.keepAlive,
      socketLimits: ResponsesSocketLimits(
        age: limits.websocket, streams: limits.websocketStreams, responses: limits.websocketResponses,
        waiting: limits.websocketQueue)
    ).add(to: router)
    MessagesRoutes(
      controlPlane: controlPlane, ids: ids, bodyLimit: limits.body, keepAlive: limits.keepAlive
    ).add(to: router)
    SessionRoutes(
      controlPlane: controlPlane, store: store, bodyLimit: limits.body, keepAlive: limits.keepAlive
    ).add(to: router)
    FileRoutes(controlPlane: controlPlane, limit: limits.file).add(to: router)
    return router
  }

  private func plain(_ text: String, type: String = "text/plain; charset=utf-8") -> Response {
    Response(status: .ok, headers: [.contentType: type], body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
  }
}

/// Names each request, in the log and in the head of its answer, where the clients of the API that it means look for it;
/// and turns what no route answered into an error object of that API.
struct RequestErrors: RouterMiddleware {
  let ids: IdentifierSource
  let clock: WallClock

  func handle(
    _ request: Request, context: EdgeRequestContext,
    next: (Request, EdgeRequestContext) async throws -> Response
  ) async throws -> Response {
    var context = context
    context.requestID = "req_\(ids.thread())"
    context.logger[metadataKey: "request_id"] = .string(context.requestID)
    var response = try await answer(request, context, next)
    response.headers[RequestedAPI(request).requestIDHeader] = context.requestID
    return response
  }

  private func answer(
    _ request: Request, _ context: EdgeRequestContext,
    _ next: (Request, EdgeRequestContext) async throws -> Response
  ) async throws -> Response {
    do {
      return try await next(request, context)
    } catch let error as CentaurError {
      let response = response(error, request, context)
      // It has a place only for this answer, or nobody knows where the next request begins.
      let isLast = error.code == .tooManyConnections || error.code == .malformedRequest
      return isLast ? response.endingItsConnection : response
    } catch let error as any HTTPResponseError where error.status.kind != .serverError {
      return response(described(error.status, request), request, context)
    } catch is CancellationError {
      throw CancellationError()
    } catch {
      context.logger.error("a request failed", metadata: ["error": "\(error)", "path": "\(request.uri.path)"])
      return response(CentaurError(caught: error), request, context)
    }
  }

  private func described(_ status: HTTPResponse.Status, _ request: Request) -> CentaurError {
    switch status {
    case .notFound:
      CentaurError(
        .routeNotFound,
        (["There is nothing at \(request.method.rawValue) \(request.uri.path.prefix(256))."]
          + [RequestedAPI(request).advice].compactMap(\.self)).joined(separator: " "))
    case .methodNotAllowed: CentaurError(.methodNotAllowed, "\(request.method.rawValue) is not allowed here.")
    case .contentTooLarge: CentaurError(.bodyTooLarge, "The body is larger than this server allows.")
    default: CentaurError(.invalidValue, "The request cannot be read.")
    }
  }

  private func response(_ error: CentaurError, _ request: Request, _ context: EdgeRequestContext) -> Response {
    var response = dialect(error, request, context)
    // Clients take it for the reason of a status; Codex is told by a stream.
    if response.status == .unauthorized { response.headers[.wwwAuthenticate] = "Bearer" }
    return response
  }

  private func dialect(_ error: CentaurError, _ request: Request, _ context: EdgeRequestContext) -> Response {
    let api = RequestedAPI(request)
    switch api.dialect {
    case .sessions: return SessionAPIError.response(error)
    case .messages: return MessagesError.response(error, to: request.headers, requestID: context.requestID)
    case .responses where api.makesResponse:
      return ResponsesError.response(
        error, to: request.headers, responseID: "resp_side_\(ids.thread())", now: clock.now)
    case .responses: return ResponsesError.response(error)
    }
  }
}
