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
    case "contextWindowExceeded":
      return CentaurError(
        .contextWindowExceeded, "The conversation no longer fits the model's context window. \(detail)")
    case "usageLimitExceeded": return CentaurError(.providerQuota, "The provider's quota is used up: \(detail)")
    case "internalServerError", "serverOverloaded": return unavailable(detail)
    case "unauthorized": return authentication(detail)
    case "badRequest": return CentaurError(.providerInvalidRequest, "The provider refused the request: \(detail)")
    default: break
    }
    switch status {
    case 401, 403: return authentication(detail)
    case 429: return CentaurError(.providerRateLimit, "The provider limits the rate of requests: \(detail)")
    case .some(400..<500):
      return CentaurError(.providerInvalidRequest, "The provider refused the request: \(detail)")
    case .some(500...): return unavailable(detail)
    default: break
    }
    if info?.object != nil { return unavailable(detail) }
    if message.hasPrefix("stream disconnected") || message.contains("stream closed before") {
      return CentaurError(.providerStreamCut, "The provider's answer was cut off: \(detail)")
    }
    if message.hasPrefix("{") {
      return CentaurError(.providerInvalidRequest, "The provider refused the request: \(detail)")
    }
    if message.contains("high demand") || message.contains("at capacity") { return unavailable(detail) }
    if message.hasPrefix("Quota exceeded") || message.contains("usage limit") {
      return CentaurError(.providerQuota, "The provider's quota is used up: \(detail)")
    }
    if message.contains("context window") {
      return CentaurError(
        .contextWindowExceeded, "The conversation no longer fits the model's context window. \(detail)")
    }
    return CentaurError(.harnessProtocol, "The harness failed: \(detail)")
  }

  private static func authentication(_ detail: String) -> CentaurError {
    CentaurError(.providerAuthentication, "The provider did not accept this server's key: \(detail)")
  }

  private static func unavailable(_ detail: String) -> CentaurError {
    CentaurError(.providerUnavailable, "The provider cannot answer now: \(detail)")
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
