import SessionModel

/// What a failed `result` of Claude Code means for a session (Claude Code 2.1.330, recorded in
/// wire/harness/claude/08-errors.jsonl). API errors come as `subtype: success`; `terminal_reason` and the status tell.
enum ClaudeFailure {
  /// - Parameters:
  ///   - error: the kind that the harness gave the message in the place of the answer.
  ///   - isCutOff: the newest answer broke off.
  static func read(_ result: JSONValue, error: String?, isCutOff: Bool) -> CentaurError {
    let text = result["result"]?.string ?? ""
    let detail = detail(text)
    if result["terminal_reason"]?.string == "prompt_too_long" || text.hasPrefix("Prompt is too long") {
      return HarnessFailure.contextWindow(detail)
    }
    if error == "billing_error" || text.hasPrefix("Credit balance") { return HarnessFailure.quota(detail) }
    if let failure = HarnessFailure.status(result["api_error_status"]?.int, detail) { return failure }
    switch error {
    case "authentication_failed": return HarnessFailure.authentication(detail)
    case "rate_limit": return HarnessFailure.rateLimit(detail)
    case "invalid_request", "model_not_found": return HarnessFailure.invalidRequest(detail)
    // Whether pieces of the answer came through before it broke off is chance; the words are there each time.
    case _ where isCutOff || detail.contains("was lost"):
      return HarnessFailure.streamCut(detail.isEmpty ? "it broke off each time." : detail)
    case "server_error": return HarnessFailure.unavailable(detail)
    default: break
    }
    if result["terminal_reason"]?.string == "api_error" { return HarnessFailure.unavailable(detail) }
    return HarnessFailure.protocolFailure(
      detail.isEmpty ? "it ended the turn with '\(result["subtype"]?.string ?? "")'." : detail)
  }

  /// The provider's own sentence: without what Claude Code puts before it, and without its advice, which is for someone
  /// at its terminal and names the address that it called.
  private static func detail(_ text: String) -> String {
    var detail = text[...]
    let introductions = [
      "Prompt is too long · ", "Failed to authenticate. ", "API Error: ", "Request rejected (429) · ",
    ]
    for introduction in introductions where detail.hasPrefix(introduction) {
      detail = detail.dropFirst(introduction.count)
    }
    if detail.prefix(3).allSatisfy(\.isNumber), detail.dropFirst(3).first == " " { detail = detail.dropFirst(4) }
    let advices = [
      " This is a server-side issue", " If it persists", " Run --model", " · Please run /login",
      " — a firewall or proxy", " This is usually temporary",
    ]
    for advice in advices {
      if let range = detail.firstRange(of: advice) { detail = detail[..<range.lowerBound] }
    }
    return String(detail.prefix(500))
  }
}
