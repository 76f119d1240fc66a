import SessionModel

/// The client's tools as Codex takes them: `dynamicTools` of `thread/start` (Codex 0.163.0, recorded in
/// wire/harness/codex/10-dynamic-tools.jsonl).
///
/// A thread keeps the tools that it was started with; neither `thread/resume` nor `thread/fork` can change them. So the
/// session's state says which they are, and a turn that offers others gets a new thread.
enum CodexTools {
  /// Codex's own functions: one of the client's by such a name would never be called (tried with 0.163.0).
  private static let own: Set<String> = [
    "apply_patch", "exec_command", "list_mcp_resources", "list_mcp_resource_templates", "read_mcp_resource",
    "request_user_input", "shell", "update_plan", "view_image", "web_search", "write_stdin",
  ]

  static func names(_ tools: [ClientTool]) -> ClientToolNames { ClientToolNames(tools, reserved: own, limit: 64) }

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

  /// What the session's state says of a thread's tools; nil where it has none.
  static func state(_ tools: [ClientTool]) -> JSONValue? {
    guard !tools.isEmpty else { return nil }
    return .object(JSONObject(tools.lazy.map { (key: $0.name, value: .string($0.digest)) }))
  }

  /// Whether a thread has all of these tools.
  static func areIn(_ state: JSONValue?, _ tools: [ClientTool]) -> Bool {
    tools.allSatisfy { state?["tools"]?[$0.name]?.string == $0.digest }
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
