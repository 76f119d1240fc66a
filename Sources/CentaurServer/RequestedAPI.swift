import HTTPTypes
import Hummingbird

/// Whose API a request means, by its path and its headers. It is told in that API's words of what went wrong, also where
/// nothing of it is at that path: what is wrong then is mostly its client's base URL.
struct RequestedAPI {
  enum Dialect {
    case responses
    case messages
    case sessions
  }

  let dialect: Dialect
  /// A response is asked for, of which a stream may say that it failed.
  let makesResponse: Bool
  /// What the client should be told to ask elsewhere, where the path says so; a sentence.
  let advice: String?

  init(_ request: Request) {
    let names = request.uri.path.split(separator: "/")
    // The last one: a base URL may hold the others.
    let place = names.lastIndex(where: Self.resources.contains)
    guard names.first != "api", place != nil || names.first == "v1" else {
      (dialect, makesResponse, advice) = (.sessions, false, nil)
      return
    }
    // Every client of Anthropic's API names its version; no other does.
    let isMessages = place.map { names[$0] } == "messages" || request.headers[.anthropicVersion] != nil
    dialect = isMessages ? .messages : .responses
    makesResponse = !isMessages && request.method == .post && names.last == "responses"
    if let place, names[place] == "chat" {
      advice = "Chat Completions are not spoken here: POST /v1/responses and POST /v1/messages are."
    } else if let place, names[..<place] != ["v1"] {
      advice = isMessages ? Self.ofAnthropic : Self.ofOpenAI
    } else {
      advice = nil
    }
  }

  /// Where the API's clients look for a request's name (OpenAI's SDK 3.57, `_request_id`; Anthropic's 2.12 likewise).
  var requestIDHeader: HTTPField.Name { dialect == .messages ? .requestID : .xRequestID }

  /// What a path of either API has behind `/v1`.
  private static let resources: Set<Substring> = ["chat", "conversations", "messages", "models", "responses"]
  private static let ofOpenAI = "The base URL of Codex and of OpenAI's SDKs ends in one '/v1': http://HOST:PORT/v1."
  private static let ofAnthropic =
    "The base URL of Claude Code and of Anthropic's SDKs is without '/v1': http://HOST:PORT."
}

extension HTTPField.Name {
  static let anthropicVersion = Self("anthropic-version")!
  fileprivate static let requestID = Self("request-id")!
  fileprivate static let xRequestID = Self("x-request-id")!
}
