import HTTPTypes
public import Hummingbird
import NIOCore
public import SessionModel

/// How the session API says that something went wrong: a status and `{"error":{"code","message","param"}}`.
public enum SessionAPIError {
  public static func response(_ error: CentaurError) -> Response {
    var headers: HTTPFields = [.contentType: "application/json"]
    if let retryAfter = error.retryAfter { headers[.retryAfter] = String(max(1, retryAfter.components.seconds)) }
    let body: JSONValue = [
      "error": [
        "code": .string(error.code.rawValue), "message": .string(error.message), "param": JSONValue(error.parameter),
      ]
    ]
    return Response(
      status: status(error), headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: body.serialized)))
  }

  static func status(_ error: CentaurError) -> HTTPResponse.Status {
    if error.code == .methodNotAllowed { return .methodNotAllowed }
    return switch error.code.category {
    case .invalidRequest: .badRequest
    case .authentication: .unauthorized
    case .notFound: .notFound
    case .conflict: .conflict
    case .tooLarge: .contentTooLarge
    case .rateLimited: .tooManyRequests
    case .unavailable: .serviceUnavailable
    case .upstream: .badGateway
    case .internalFailure: .internalServerError
    }
  }
}
