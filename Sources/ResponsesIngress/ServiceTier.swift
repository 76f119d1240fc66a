import SessionModel

/// The field `service_tier`: the specification's four words, and those that OpenAI's SDKs (3.57) know beside them.
enum ServiceTier {
  static let names = ["auto", "default", "flex", "priority", "scale", "fast", "ultrafast"]

  /// What the provider is asked for; nil for its usual tier.
  static func asked(of body: JSONValue) -> String? {
    switch body["service_tier"]?.string {
    case nil, "auto", "default": nil
    // Another word for the same tier, and Codex knows only this one.
    case "fast": "priority"
    case let tier: tier
    }
  }

  /// As a response has it: OpenAI's own tells `fast` so. Which tier it is by itself the server does not know: no other
  /// than the provider's own.
  static func echo(_ sent: JSONValue) -> JSONValue {
    switch sent.string {
    case "auto": "default"
    case "fast": "priority"
    default: sent
    }
  }
}
