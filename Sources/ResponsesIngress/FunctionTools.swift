import Ingress
import SessionModel

/// The functions that a request offers to the agent: its `tools` of the type `function`, as far as `tool_choice` allows
/// them. The agent's own tools are its own; other types of tools are not offered.
enum FunctionTools {
  /// Open Responses 2026-04-24, `FunctionToolParam`
  private static let longestName = 64

  /// - Throws: `CentaurError` with `invalidType`, `invalidValue`, `missingField`
  static func offered(in body: JSONValue) throws(CentaurError) -> [ClientTool] {
    let choice = body["tool_choice"] ?? .null
    var tools: [ClientTool] = []
    for (index, tool) in (body["tools"]?.array ?? []).enumerated() where tool["type"]?.string == "function" {
      let path = "tools[\(index)]"
      tools.append(
        try ClientTool(tool, schema: "parameters", path: path, others: tools, longestName: longestName))
    }
    if choice.string == "none" { return [] }
    guard choice["type"]?.string == "allowed_tools" else { return tools }
    let allowed = Set((choice["tools"]?.array ?? []).compactMap { $0["name"]?.string })
    return tools.filter { allowed.contains($0.name) }
  }
}
