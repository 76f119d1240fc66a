import NIOCore
import NIOHTTP1
import SessionModel

/// What may pass: the three model calls, of a model on the list, without credentials or headers that lead elsewhere.
struct CallRules {
  enum Path: String {
    case responses = "/v1/responses"
    case messages = "/v1/messages"
    case countTokens = "/v1/messages/count_tokens"
  }

  /// - Throws: `CentaurError` with `callNotAllowed`
  static func path(_ method: HTTPMethod, _ uri: String) throws(CentaurError) -> (path: Path, query: String) {
    let parts = uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    guard method == .POST, let path = Path(rawValue: String(parts[0])) else {
      throw CentaurError(
        .callNotAllowed,
        "The model gateway forwards POST /v1/responses, /v1/messages and /v1/messages/count_tokens, and nothing else.")
    }
    // What Claude Code sends; of what else a provider may take there nothing passes.
    return (path, parts.dropFirst().elementsEqual(["beta=true"]) ? "?beta=true" : "")
  }

  /// How many values a call's body may be made of: a value takes up to some 30 times the bytes that it is written with.
  static let maximumValues = 2_000_000

  /// The call's model, which is on the list, of a call that asks its provider for nothing but the model.
  ///
  /// A provider may read a repeated key otherwise than we do, and some take keys in any case: whatever could be read as
  /// a second model is refused.
  /// - Throws: `CentaurError` with `invalidJSON`, `bodyTooLarge`, `modelNotAllowed` or `callNotAllowed`
  static func model(
    _ body: ByteBuffer, allowed: [String], maximumValues: Int = Self.maximumValues
  ) throws(CentaurError) -> String {
    let value: JSONValue
    do {
      value = try JSONValue(parsing: body.readableBytesView, maximumValues: maximumValues)
    } catch let error as JSONTooManyValues {
      throw CentaurError(.bodyTooLarge, "The call's body is made of more than \(error.limit) JSON values.")
    } catch {
      throw CentaurError(.invalidJSON, "The call's body is not JSON: \(error)")
    }
    let found = value.object.map { object in object.members.filter { $0.key.lowercased() == "model" } } ?? []
    guard found.count == 1, found[0].key == "model", let model = found[0].value.string else {
      throw CentaurError(.modelNotAllowed, "A call must name its model, once, as 'model'.", parameter: "model")
    }
    guard allowed.contains(where: { $0.utf8.elementsEqual(model.utf8) }) else {
      throw CentaurError(
        .modelNotAllowed,
        "The model '\(model.prefix(64))' is not allowed here; allowed: \(allowed.joined(separator: ", ")).",
        parameter: "model")
    }
    if let field = HostedFeature.field(of: value) {
      throw CentaurError(
        .callNotAllowed, "The call's '\(field)' asks the provider for more than its model; the gateway forwards none.",
        parameter: field)
    }
    return model
  }

  /// What belongs to one connection, what names another place to go to or another account, and credentials by name.
  private static let dropped: Set<String> = [
    "host", "connection", "content-length", "transfer-encoding", "te", "trailer", "keep-alive", "upgrade", "expect",
    "accept-encoding", "forwarded", "via", "x-real-ip", "x-original-url", "x-rewrite-url", "x-http-method",
    "x-http-method-override", "x-method-override", "openai-organization", "openai-project", "chatgpt-account-id",
    "x-amz-security-token", "api-key",
  ]
  private static let droppedPrefixes = [
    "proxy-", "x-forwarded-", "x-amz-", "x-goog-", "cf-", "x-litellm", "helicone", "x-portkey",
  ]
  private static let droppedWords = ["authorization", "api-key", "apikey", "token", "secret", "credential", "cookie"]

  /// What goes on to the provider of what the harness sent.
  static func forwarded(_ headers: HTTPHeaders) -> HTTPHeaders {
    let ofConnection = Set(headers[canonicalForm: "connection"].map { $0.lowercased() })
    var kept = HTTPHeaders()
    for (name, value) in headers {
      let lower = name.lowercased()
      guard !dropped.contains(lower), !ofConnection.contains(lower),
        !droppedPrefixes.contains(where: lower.hasPrefix), !droppedWords.contains(where: lower.contains)
      else { continue }
      kept.add(name: name, value: value)
    }
    return kept
  }

  private static let answered: Set<String> = [
    "content-type", "content-encoding", "retry-after", "x-request-id", "request-id", "x-should-retry",
    "x-stand-in-model",
  ]

  /// What goes back to the harness of what the provider answered.
  static func answered(_ headers: HTTPHeaders) -> HTTPHeaders {
    HTTPHeaders(headers.filter { answered.contains($0.name.lowercased()) }.map { ($0.name, $0.value) })
  }
}

/// What a call is refused with, in the dialect of its path.
struct Refusal {
  let status: HTTPResponseStatus
  let body: JSONValue

  /// The code is in the sentence too: harnesses tell their users, and us, no more than that.
  init(_ error: CentaurError, uri: String) {
    let (status, type): (HTTPResponseStatus, String) =
      switch error.code {
      case .callNotAllowed: (.notFound, "not_found_error")
      case .bodyTooLarge: (.payloadTooLarge, "request_too_large")
      case .tooManyCalls: (.tooManyRequests, "rate_limit_error")
      case .storeUnavailable, .providerUnavailable: (.badGateway, "api_error")
      // Codex and Claude Code give up at once at a 400, and at no other status (wire/harness.md §2.3, §3.3).
      default: (.badRequest, "invalid_request_error")
      }
    self.status = status
    let message = "\(error.message) (\(error.code))"
    if uri.hasPrefix("/v1/messages") {
      body = [
        "type": "error",
        "error": ["type": .string(type), "message": .string(message), "code": .string(error.code.rawValue)],
      ]
    } else {
      body = [
        "error": [
          "message": .string(message), "type": .string(type), "param": JSONValue(error.parameter),
          "code": .string(error.code.rawValue),
        ]
      ]
    }
  }
}
