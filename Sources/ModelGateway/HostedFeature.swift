import SessionModel

/// What a provider does beside answering with its model: it keeps conversations, works on after the call, connects to
/// other machines, runs code. Each would lead a sandbox out of its session or past its limits, with the key of all.
enum HostedFeature {
  private static let ofResponses: Set<String> = ["previous_response_id", "conversation", "prompt"]
  /// Tools that run at the provider, by the beginning of their type; those of a harness are `function`, `custom` and the
  /// like.
  private static let tools = [
    "mcp", "web_search", "web_fetch", "code_interpreter", "code_execution", "file_search", "computer",
    "image_generation", "shell",
  ]

  /// The field by which a call asks for one of them. Keys count in any case and as often as they stand there: which one
  /// a provider reads is not known.
  static func field(of call: JSONValue) -> String? {
    for (key, value) in members(call) {
      switch key.lowercased() {
      case let key where ofResponses.contains(key) && !value.isNull: return key
      case "background" where !value.isNull && value != false: return "background"
      case "mcp_servers" where !value.isNull && value != []: return "mcp_servers"
      case "tools": if let type = hostedTool(value) { return "tools: \(type)" }
      // Codex gives the newest models their tools in an item of the input.
      case "input":
        for item in value.array ?? [] {
          for (key, value) in members(item) where key.lowercased() == "tools" {
            if let type = hostedTool(value) { return "input: tools: \(type)" }
          }
        }
      default: break
      }
    }
    return nil
  }

  /// The type of one of these tools that runs at the provider; tools may lie in namespaces.
  private static func hostedTool(_ list: JSONValue) -> String? {
    for tool in list.array ?? [] {
      for (key, value) in members(tool) {
        switch key.lowercased() {
        case "type":
          if let type = value.string?.lowercased(), tools.contains(where: type.hasPrefix) { return type }
        case "tools": if let type = hostedTool(value) { return type }
        default: break
        }
      }
    }
    return nil
  }

  private static func members(_ value: JSONValue) -> [JSONObject.Member] {
    value.object.map { Array($0.members) } ?? []
  }
}
