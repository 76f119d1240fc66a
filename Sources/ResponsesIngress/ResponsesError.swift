public import HTTPTypes
import Ingress
public import Hummingbird
import Logging
public import SessionModel

/// How this API says that something went wrong, in the form that each client shows to its user
/// (wire/codex-client.md §3.2).
///
/// An SDK gets a status and `{"error":{"message","type","code","param"}}`. Codex retries most statuses and then shows a
/// text of its own; so a permanent error is a stream that fails with the code `invalid_prompt`, whose message it shows
/// as it is, once; a temporary one is 503 with `Retry-After`, after which it asks again.
public enum ResponsesError {
  /// For a request whose client is not known, or is an SDK.
  public static func response(_ error: CentaurError) -> Response { response(error, error.status) }

  static func response(_ error: CentaurError, _ status: HTTPResponse.Status) -> Response {
    var headers = error.retryHeaders
    if error.retryAfter == nil, let name = HTTPField.Name("x-should-retry") {
      // The SDKs repeat 409, 429 and 5xx by themselves: a turn that failed must not be run again for that.
      headers[name] = "false"
    }
    return .json(body(error), status: status, headers: headers)
  }

  /// For a request to `/v1/responses` that was refused before it was read.
  public static func response(
    _ error: CentaurError, to headers: HTTPFields, responseID: String, now: Timestamp
  ) -> Response {
    response(error, isCodex: RequestHeaders(headers).areCodex, responseID: responseID, now: now)
  }

  /// What `body` answers, or its error in the form for SDKs.
  static func answering(
    _ context: EdgeRequestContext, _ body: () async throws -> Response
  ) async -> Response {
    do {
      return try await body()
    } catch is ClientLeft {
      return Response(status: .badRequest)
    } catch {
      if !(error is CentaurError) { context.logger.error("a request failed", metadata: ["error": "\(error)"]) }
      return response(CentaurError(caught: error))
    }
  }

  /// What a client is told.
  enum Refusal {
    /// A status and an error object.
    case status(CentaurError, HTTPResponse.Status)
    /// A response that fails at once.
    case stream([ResponsesEvent])
  }

  static func response(_ error: CentaurError, isCodex: Bool, responseID: String, now: Timestamp) -> Response {
    switch refusal(error, isCodex: isCodex, responseID: responseID, now: now) {
    case .status(let error, let status): response(error, status)
    case .stream(let events): ResponsesEvent.stream(events)
    }
  }

  static func refusal(_ error: CentaurError, isCodex: Bool, responseID: String, now: Timestamp) -> Refusal {
    guard isCodex else { return .status(error, error.status) }
    if isTemporary(error.code) {
      return .status(
        CentaurError(
          error.code, error.message, parameter: error.parameter, retryAfter: error.retryAfter ?? .seconds(2)),
        // Also for 429, after which it asks six times and then hides our sentence behind its own.
        .serviceUnavailable)
    }
    let echo = ReplyEcho(body: .null, isCodex: true, showsWork: false, showsItems: false, heldItemIDs: [])
    let object = ResponseObject(id: responseID, createdAt: now, echo: echo)
    var writer = OutputWriter(held: [])
    let failed = object.json(
      status: "failed", error: (wireCode(error.code.rawValue, isCodex: true), error.message), usage: TurnUsage())
    return .stream([
      writer.event("response.created", [("response", object.json(status: "in_progress"))]),
      writer.event("response.failed", [("response", failed)]),
    ])
  }

  /// The code of a failed response on the wire.
  static func wireCode(_ code: String, isCodex: Bool) -> String { isCodex ? "invalid_prompt" : code }

  static func body(_ error: CentaurError) -> JSONValue {
    [
      "error": [
        "message": .string(error.message), "type": .string(type(error)), "code": .string(error.code.rawValue),
        "param": JSONValue(error.parameter),
      ]
    ]
  }

  /// Worth asking again without a change.
  static func isTemporary(_ code: CentaurError.Code) -> Bool {
    code.category == .unavailable || code.category == .rateLimited
  }

  private static func type(_ error: CentaurError) -> String {
    switch error.code {
    case .providerRateLimit, .providerQuota: return "rate_limit_error"
    case .contextWindowExceeded: return "invalid_request_error"
    default: break
    }
    return switch error.code.category {
    case .invalidRequest, .notFound, .conflict, .tooLarge, .forbidden: "invalid_request_error"
    case .authentication: "authentication_error"
    case .rateLimited: "rate_limit_error"
    case .unavailable, .upstream, .internalFailure: "server_error"
    }
  }
}
