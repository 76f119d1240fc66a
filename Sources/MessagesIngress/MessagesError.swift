public import HTTPTypes
public import Hummingbird
import Ingress
public import SessionModel

/// How this API says that something went wrong, in the form that each client shows to its user
/// (wire/claude-client.md §4).
///
/// An SDK gets Anthropic's error object with the status of its type. Claude Code repeats most statuses up to eleven
/// times unless it is told not to (`x-should-retry: false`), and hides our sentence behind its own for 404 and 413.
public enum MessagesError {
  /// For a request that was refused before it was read.
  /// - Parameter requestID: the request's name, which the answer's head has from whoever writes that
  public static func response(_ error: CentaurError, to headers: HTTPFields, requestID: String) -> Response {
    response(error, isClaudeCode: RequestHeaders(headers).areClaudeCode, requestID: requestID)
  }

  static func response(_ error: CentaurError, isClaudeCode: Bool, requestID: String) -> Response {
    var headers = error.retryHeaders
    if error.retryAfter == nil, let name = HTTPField.Name("x-should-retry") { headers[name] = "false" }
    var status = error.status
    if isClaudeCode, status == .notFound || status == .contentTooLarge { status = .badRequest }
    return .json(
      ["type": "error", "error": body(error, isClaudeCode: false), "request_id": .string(requestID)],
      status: status, headers: headers)
  }

  /// The `error` member, in a response and in a stream.
  /// - Parameter isClaudeCode: of a stream that has begun: the type says only that it is of no use to ask again
  static func body(_ error: CentaurError, isClaudeCode: Bool) -> JSONValue {
    var body = JSONObject([
      ("type", .string(isClaudeCode ? "invalid_request_error" : type(error))), ("message", .string(error.message)),
      ("code", .string(error.code.rawValue)), ("param", JSONValue(error.parameter)),
    ])
    // By this Anthropic's SDK (2.12, beta message-threads-2026-08-12) knows to send its whole conversation again.
    if error.code == .previousResponseNotFound { body.append("details", ["error_code": "thread_not_found"]) }
    return .object(body)
  }

  private static func type(_ error: CentaurError) -> String {
    switch error.code {
    case .providerRateLimit, .providerQuota: return "rate_limit_error"
    case .contextWindowExceeded: return "invalid_request_error"
    case .turnTimeLimit, .toolWaitLimit, .requestTimeout: return "timeout_error"
    default: break
    }
    return switch error.code.category {
    case .invalidRequest, .conflict: "invalid_request_error"
    case .authentication: "authentication_error"
    case .forbidden: "permission_error"
    case .notFound: "not_found_error"
    case .tooLarge: "request_too_large"
    case .rateLimited: "rate_limit_error"
    case .unavailable: "overloaded_error"
    case .upstream, .internalFailure: "api_error"
    }
  }
}
