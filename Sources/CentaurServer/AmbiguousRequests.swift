import HTTPTypes
import Hummingbird
import SessionModel

/// Refuses requests of which somebody on the way could think otherwise than we: where they end, or to whom they are
/// (RFC 9112, §3.2 and §6.1). What breaks HTTP's grammar has been refused before, by NIO's parser.
struct AmbiguousRequests<Context: RequestContext>: RouterMiddleware {
  func handle(
    _ request: Request, context: Context, next: (Request, Context) async throws -> Response
  ) async throws -> Response {
    // The first one is the authority and no header any more.
    guard request.head.authority != nil, request.headers[values: .host].isEmpty else {
      throw CentaurError(.malformedRequest, "A request has one Host, and no other.")
    }
    guard request.headers[values: .transferEncoding].allSatisfy({ $0.lowercased() == "chunked" }) else {
      throw CentaurError(.malformedRequest, "Of Transfer-Encoding only 'chunked' is known here.")
    }
    return try await next(request, context)
  }
}

extension HTTPField.Name {
  fileprivate static let host = Self("Host")!
}

extension Response {
  /// The answer, with nothing behind it: not even a request that has come already.
  var endingItsConnection: Response {
    var response = self
    let body = body
    response.headers[.connection] = "close"
    // Hummingbird looks at the request's header only; what is thrown behind a whole answer ends the connection.
    response.body = ResponseBody(contentLength: body.contentLength) { writer in
      try await body.write(writer)
      throw ConnectionEnds()
    }
    return response
  }

  private struct ConnectionEnds: Error {}
}
