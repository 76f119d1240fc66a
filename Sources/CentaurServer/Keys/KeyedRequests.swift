import ControlPlane
import HTTPTypes
import Hummingbird
import Ingress
import SessionModel

/// Finds out whose a request is, by the key that it shows. Once a key was made, nobody is let in without one.
///
/// Each request asks the store: a key that was revoked, by whatever process, is of no use from the next request on.
struct KeyedRequests: RouterMiddleware {
  let keys: any KeyStore
  let uses: KeyUses

  func handle(
    _ request: Request, context: EdgeRequestContext,
    next: (Request, EdgeRequestContext) async throws -> Response
  ) async throws -> Response {
    var context = context
    if OpenRoutes.contain(request) {
      // They do not ask the store: a server whose disk fails still says that it is there.
      context.trustsMachine = !uses.hasSeenKeys
      return try await next(request, context)
    }
    context.caller = try await KeyDoor(ShownKey(request.headers), keys: keys, uses: uses).enter(by: context.channel)
    context.trustsMachine = !uses.hasSeenKeys
    return try await next(request, context)
  }
}

/// What anybody may ask: whether somebody is there. Told by the path as it was written, so that a spelling of it that
/// the router would take for the same needs a key.
enum OpenRoutes {
  static func contain(_ request: Request) -> Bool {
    switch request.method {
    case .get: ["/healthz", "/readyz"].contains(request.uri.path)
    // Claude Code looks so before it has shown a key.
    case .head: ["/", "/api/hello"].contains(request.uri.path)
    default: false
    }
  }
}
