import SessionModel

/// The client's tools as Claude Code takes them: those of an MCP server of the type `sdk`, whose messages come and go over
/// the harness's own stdio (Claude Code 2.1.330, recorded in wire/harness/claude/10-sdk-mcp.jsonl; that a running process
/// takes the server, and other tools of it, was tried).
enum ClaudeClientTools {
  /// The server. Its tools are `mcp__cp__NAME` to the model.
  static let server = "cp"
  private static let prefix = "mcp__\(server)__"

  /// Tool names of the Messages API have at most 64 characters, the prefix included.
  static func names(_ tools: [ClientTool]) -> ClientToolNames { ClientToolNames(tools, limit: 64 - prefix.count) }

  /// The server's name of a tool that the model calls so; nil for one of another's.
  static func name(ofModel name: String) -> String? {
    name.hasPrefix(prefix) ? String(name.dropFirst(prefix.count)) : nil
  }

  static let added: JSONValue = [
    "subtype": "mcp_set_servers", "servers": [server: ["type": "sdk", "name": .string(server)]],
  ]
  static let removed: JSONValue = ["subtype": "mcp_set_servers", "servers": .object(JSONObject())]
  /// The server has other tools now.
  static let changed: JSONValue = [
    "subtype": "mcp_message", "server_name": .string(server),
    "message": ["jsonrpc": "2.0", "method": "notifications/tools/list_changed"],
  ]

  static func list(_ tools: [ClientTool]) -> JSONValue {
    [
      "tools": .array(
        names(tools).described { name, tool in
          ["name": .string(name), "description": .string(tool.description), "inputSchema": schema(tool.parameters)]
        })
    ]
  }

  /// MCP knows no other input than an object.
  private static func schema(_ parameters: JSONValue) -> JSONValue {
    guard case .object(var schema) = parameters else { return ["type": "object"] }
    if schema["type"] == nil { schema["type"] = "object" }
    return .object(schema)
  }

  /// The answer to the server's `initialize`.
  static func greeting(_ message: JSONValue) -> JSONValue {
    [
      "protocolVersion": message["params"]?["protocolVersion"] ?? "2025-11-25",
      "capabilities": ["tools": ["listChanged": true]], "serverInfo": ["name": "centaur", "version": "0.1.0"],
    ]
  }

  /// The answer to `tools/call`.
  static func result(_ output: ToolOutput) -> JSONValue {
    func text(_ text: String) -> JSONValue { ["type": "text", "text": .string(text)] }
    let content = output.content(text: text) { url in
      guard let data = DataURL(url), ClaudeInput.imageTypes.contains(data.mediaType) else { return nil }
      return ["type": "image", "data": .string(data.base64), "mimeType": .string(data.mediaType)]
    }
    return ["content": .array(content), "isError": .bool(output.isError)]
  }
}
