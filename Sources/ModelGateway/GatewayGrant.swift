public import SessionModel

/// What one sandbox may ask for: the principal behind its socket.
public struct GatewayGrant: Sendable, Hashable {
  public var session: SessionID
  /// A name of the settings' providers.
  public var provider: String
  /// What a call's `model` may be.
  public var models: [String]
  public var limits: GatewayLimits
  /// Where else it may connect; nil: nowhere.
  public var egress: EgressRules?

  public init(
    session: SessionID, provider: String, models: [String], limits: GatewayLimits = GatewayLimits(),
    egress: EgressRules? = nil
  ) {
    self.session = session
    self.provider = provider
    self.models = models
    self.limits = limits
    self.egress = egress
  }
}

public struct GatewayLimits: Sendable, Hashable {
  /// Tokens of all of the session's calls, input and output; nil: no limit.
  public var sessionTokens: Int?
  /// The session's calls; nil: no limit.
  public var sessionRequests: Int?
  /// A sandbox's calls at one time.
  public var calls: Int
  /// Of a call, in bytes; a harness keeps below what its model takes.
  public var body: Int

  public init(
    sessionTokens: Int? = nil, sessionRequests: Int? = nil, calls: Int = 32, body: Int = 64 << 20
  ) {
    self.sessionTokens = sessionTokens
    self.sessionRequests = sessionRequests
    self.calls = calls
    self.body = body
  }
}

// MARK: As JSON, on the control socket and in the grant's file

extension GatewayGrant {
  public var json: JSONValue {
    var object: JSONValue = [
      "session": .string(session.rawValue), "provider": .string(provider),
      "models": .array(models.map(JSONValue.string)), "calls": JSONValue(limits.calls), "body": JSONValue(limits.body),
    ]
    if let tokens = limits.sessionTokens { object.set("session_tokens", JSONValue(tokens)) }
    if let requests = limits.sessionRequests { object.set("session_requests", JSONValue(requests)) }
    if let egress { object.set("egress", egress.json) }
    return object
  }

  public init?(json: JSONValue) {
    guard let session = json["session"]?.string, GatewayFiles.isName(session),
      let provider = json["provider"]?.string, let models = json["models"]?.array, let calls = json["calls"]?.int,
      let body = json["body"]?.int
    else { return nil }
    var egress: EgressRules?
    if let json = json["egress"] {
      guard let rules = EgressRules(json: json) else { return nil }
      egress = rules
    }
    self.init(
      session: SessionID(rawValue: session), provider: provider, models: models.compactMap(\.string),
      limits: GatewayLimits(
        sessionTokens: json["session_tokens"]?.int, sessionRequests: json["session_requests"]?.int, calls: calls,
        body: body),
      egress: egress)
  }
}
