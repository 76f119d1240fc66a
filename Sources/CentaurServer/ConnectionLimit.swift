import Hummingbird
import Ingress
import SessionModel

/// Refuses the requests of connections that are more than there may be, but for those that ask how the server is.
struct ConnectionLimit: RouterMiddleware {
  let connections: ConnectionCount

  func handle(
    _ request: Request, context: EdgeRequestContext,
    next: (Request, EdgeRequestContext) async throws -> Response
  ) async throws -> Response {
    guard connections.isSurplus(context.connection), !["/healthz", "/readyz", "/metrics"].contains(request.uri.path)
    else { return try await next(request, context) }
    throw CentaurError(
      .tooManyConnections, "This server has as many connections as it takes, \(connections.limit). Try again shortly.",
      retryAfter: .seconds(5))
  }
}
