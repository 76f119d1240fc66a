import Ingress
import SessionModel

extension NotHonoured {
  /// What asks for nothing but the usual, by field; where there is none, any value asks for something.
  private static let usual: [String: JSONValue] = ["service_tier": "auto", "speed": "standard"]

  /// Of a program's request to `/v1/messages` (Anthropic's SDK 2.12, `MessageCreateParams`). Claude Code sends most of
  /// these with each request, and nobody has asked it to: its requests do not come here.
  ///
  /// `max_tokens` is not among them: every request must have one, so that it says nothing of what its client wants.
  init(messages body: JSONValue) {
    self.init()
    for name in ["temperature", "top_p"] { note(name, if: body[name]?.double.map { $0 != 1 } ?? false) }
    note("top_k", if: Self.isSaid(body["top_k"]))
    note("stop_sequences", if: Self.isSaid(body["stop_sequences"]))
    note("tool_choice", if: ["any", "tool"].contains(body["tool_choice"]?["type"]?.string ?? ""))
    for tool in body["tools"]?.array ?? [] {
      if let type = tool["type"]?.string, type != "custom" { note("tools \(type.prefix(64))") }
    }
    for (name, value) in Self.members(body["thinking"]) where name != "type" {
      note("thinking.\(name)", if: Self.isSaid(value) && !(name == "display" && value == "summarized"))
    }
    for (name, value) in Self.members(body["output_config"]) where name != "effort" && name != "format" {
      note("output_config.\(name)", if: Self.isSaid(value))
    }
    for name in [
      "service_tier", "speed", "container", "mcp_servers", "context_management", "compaction", "inference_geo",
      "fallbacks",
    ] {
      note(name, if: Self.isSaid(body[name]) && body[name] != Self.usual[name])
    }
  }

  private static func members(_ value: JSONValue?) -> [(String, JSONValue)] {
    (value?.object?.members).map { $0.map { (String($0.key.prefix(64)), $0.value) } } ?? []
  }

  private static func isSaid(_ value: JSONValue?) -> Bool {
    guard let value, !value.isNull else { return false }
    return value.array?.isEmpty != true && value.object?.isEmpty != true
  }
}
