import SessionModel

/// What a harness's failure is for a session. Every adapter makes its errors here, so that the same failure of a provider
/// has the same code and the same sentence whichever harness met it.
enum HarnessFailure {
  /// What a provider's HTTP status says; nil for one that says nothing of a failure.
  /// - Parameter detail: the provider's own sentence
  static func status(_ status: Int?, _ detail: String) -> CentaurError? {
    if let refusal = gatewayRefusal(detail) { return refusal }
    return switch status {
    case 401, 403: authentication(detail)
    case 429: rateLimit(detail)
    case .some(400..<500): invalidRequest(detail)
    case .some(500...): unavailable(detail)
    default: nil
    }
  }

  static func authentication(_ detail: String) -> CentaurError {
    CentaurError(.providerAuthentication, "The provider did not accept this server's key: \(detail)")
  }

  static func rateLimit(_ detail: String) -> CentaurError {
    CentaurError(.providerRateLimit, "The provider limits the rate of requests: \(detail)")
  }

  static func quota(_ detail: String) -> CentaurError {
    CentaurError(.providerQuota, "The provider's quota is used up: \(detail)")
  }

  static func invalidRequest(_ detail: String) -> CentaurError {
    gatewayRefusal(detail)
      ?? CentaurError(.providerInvalidRequest, "The provider refused the request: \(detail)")
  }

  static func unavailable(_ detail: String) -> CentaurError {
    CentaurError(.providerUnavailable, "The provider cannot answer now: \(detail)")
  }

  static func streamCut(_ detail: String) -> CentaurError {
    CentaurError(.providerStreamCut, "The provider's answer was cut off: \(detail)")
  }

  private static let gatewayCodes: [CentaurError.Code] = [
    .sessionTokenLimit, .sessionRequestLimit, .modelNotAllowed, .callNotAllowed, .tooManyCalls,
  ]

  /// What our own gateway refused, and not the provider: its sentences end in their code.
  private static func gatewayRefusal(_ detail: String) -> CentaurError? {
    for code in gatewayCodes {
      guard let range = detail.firstRange(of: " (\(code))") else { continue }
      return CentaurError(code, String(detail[..<range.lowerBound]))
    }
    return nil
  }

  static func contextWindow(_ detail: String) -> CentaurError {
    CentaurError(.contextWindowExceeded, "The conversation no longer fits the model's context window. \(detail)")
  }

  static func protocolFailure(_ detail: String) -> CentaurError {
    CentaurError(.harnessProtocol, "The harness failed: \(detail)")
  }

  static func died(_ exit: HarnessExit) -> CentaurError {
    CentaurError(.harnessDied, "The agent's process ended \(exit.description) in the middle of the turn.")
  }

  /// What the log says of a line that cannot be read.
  static let unreadableLine = EventPayload.warning(
    code: "harness_protocol", message: "The harness printed a line that is not of its protocol.")

  /// What the log says where the client's functions cannot be offered to the agent.
  static let toolsNotOffered = EventPayload.warning(
    code: "tools_not_offered", message: "This harness cannot be given functions of the client; it works without them.")

  /// What the log says of a provider's tier that the harness cannot ask for.
  static func noTier(_ tier: String) -> EventPayload {
    .warning(
      code: "service_tier_not_supported",
      message: "The harness cannot ask for the service tier '\(tier.prefix(64))'; the provider's usual one is used.")
  }

  /// What the log says of a kind of summary that the harness cannot ask for.
  static func noSummary(_ kind: String) -> EventPayload {
    .warning(
      code: "summary_not_supported",
      message: "The harness cannot ask for a summary that is '\(kind)'; it shows its reasoning as it is.")
  }

  /// What the log says where the harness's own conversation is gone.
  static let conversationRestarted = EventPayload.warning(
    code: "conversation_restarted",
    message: "The harness no longer has this conversation; a new one was begun from the session's history.")
}

extension HarnessTimer {
  /// Runs while the harness may end an interrupted turn by itself.
  static let interrupt = HarnessTimer(name: "interrupt")
  /// How long it may take for that.
  static let patience: Duration = .seconds(5)
}
