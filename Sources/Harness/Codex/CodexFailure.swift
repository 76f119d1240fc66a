import SessionModel

/// What Codex's errors mean for a session (Codex 0.163.0, recorded in wire/harness/codex/08-errors.jsonl).
enum CodexFailure {
  /// - Parameters:
  ///   - message: Codex's own words, which quote the provider's.
  ///   - info: `codexErrorInfo`, where the harness gives one.
  static func read(message: String, info: JSONValue? = nil) -> CentaurError {
    let detail = detail(message)
    let status = status(info) ?? status(in: message)
    switch info?.string {
    case "contextWindowExceeded": return HarnessFailure.contextWindow(detail)
    case "usageLimitExceeded": return HarnessFailure.quota(detail)
    case "internalServerError", "serverOverloaded": return HarnessFailure.unavailable(detail)
    case "unauthorized": return HarnessFailure.authentication(detail)
    case "badRequest": return HarnessFailure.invalidRequest(detail)
    default: break
    }
    if let failure = HarnessFailure.status(status, detail) { return failure }
    if info?.object != nil { return HarnessFailure.unavailable(detail) }
    if message.hasPrefix("stream disconnected") || message.contains("stream closed before") {
      return HarnessFailure.streamCut(detail)
    }
    if message.hasPrefix("{") { return HarnessFailure.invalidRequest(detail) }
    if message.contains("high demand") || message.contains("at capacity") { return HarnessFailure.unavailable(detail) }
    if message.hasPrefix("Quota exceeded") || message.contains("usage limit") { return HarnessFailure.quota(detail) }
    if message.contains("context window") { return HarnessFailure.contextWindow(detail) }
    return HarnessFailure.protocolFailure(detail)
  }

  /// The provider's own sentence, without the address that the harness called: that is ours and no one else's.
  private static func detail(_ message: String) -> String {
    if message.hasPrefix("{"), let json = try? JSONValue(parsing: message),
      let text = json["error"]?["message"]?.string ?? json["message"]?.string
    {
      return String(text.prefix(500))
    }
    let withoutAddress = message.split(separator: ", url: ", maxSplits: 1).first.map(String.init) ?? message
    return String(withoutAddress.prefix(500))
  }

  private static func status(_ info: JSONValue?) -> Int? {
    guard case .object(let object)? = info else { return nil }
    return object.members.lazy.compactMap { $0.value["httpStatusCode"]?.int }.first
  }

  /// `unexpected status 401 Unauthorized: …`, `…, last status: 429 Too Many Requests`
  private static func status(in message: String) -> Int? {
    for mark in ["unexpected status ", "last status: "] {
      guard let range = message.firstRange(of: mark) else { continue }
      return Int(message[range.upperBound...].prefix(3))
    }
    return nil
  }
}
