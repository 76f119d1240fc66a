import SessionModel

/// The client's tools as Codex takes them: `dynamicTools` of `thread/start` (Codex 0.163.0, recorded in
/// wire/harness/codex/10-dynamic-tools.jsonl).
///
/// A thread keeps the tools that it was started with; neither `thread/resume` nor `thread/fork` can change them. So the
/// session's state says which they are, or which Codex refused and why, and a turn that offers others gets a new thread.
enum CodexTools {
  /// Codex's own functions: one of the client's by such a name would never be called (tried with 0.163.0). `mcp`, and
  /// what begins like a tool of an MCP server, it refuses, and all other tools with it.
  private static let own: Set<String> = [
    "apply_patch", "exec_command", "list_mcp_resources", "list_mcp_resource_templates", "mcp",
    "read_mcp_resource", "request_user_input", "shell", "update_plan", "view_image", "web_search", "write_stdin",
  ]

  static func names(_ tools: [ClientTool]) -> ClientToolNames {
    ClientToolNames(tools, reserved: own, reservedPrefix: "mcp__", limit: 64)
  }

  /// `dynamicTools`
  static func parameter(_ tools: [ClientTool]) -> JSONValue {
    .array(
      names(tools).described { name, tool in
        [
          "type": "function", "name": .string(name), "description": .string(tool.description),
          "inputSchema": tool.parameters,
        ]
      })
  }

  /// What the session's state says of a thread's tools; nothing where it was asked for none.
  static func state(_ tools: [ClientTool], refusal: String?) -> [(key: String, value: JSONValue)] {
    guard !tools.isEmpty else { return [] }
    let digests = JSONObject(tools.lazy.map { (key: $0.name, value: .string($0.digest)) })
    return [("tools", .object(digests))] + (refusal.map { [("tools_refusal", .string(String($0.prefix(300))))] } ?? [])
  }

  /// What `state` said, for a thread that goes on.
  static func state(_ known: JSONValue?) -> [(key: String, value: JSONValue)] {
    ["tools", "tools_refusal"].compactMap { key in known?[key].map { (key, $0) } }
  }

  /// Why the thread has not the tools that it was to have; nil where it has them.
  static func refusal(_ state: JSONValue?) -> String? { state?["tools_refusal"]?.string }

  /// Whether a turn with these tools has nothing to gain from another thread: this one has them all, or Codex has refused
  /// just these and would again.
  static func areSettled(in state: JSONValue?, _ tools: [ClientTool]) -> Bool {
    let known = state?["tools"]
    let areKnown = tools.allSatisfy { known?[$0.name]?.string == $0.digest }
    guard refusal(state) != nil else { return areKnown }
    return tools.isEmpty || areKnown && tools.count == known?.object?.count
  }

  /// The answer to `item/tool/call`.
  static func result(_ output: ToolOutput) -> JSONValue {
    let content = output.content(
      text: { ["type": "inputText", "text": .string($0)] }, image: { ["type": "inputImage", "imageUrl": .string($0)] })
    return ["contentItems": .array(content), "success": .bool(!output.isError)]
  }

  static func refusal(_ text: String) -> JSONValue {
    ["contentItems": [["type": "inputText", "text": .string(text)]], "success": false]
  }
}
