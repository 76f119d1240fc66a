import Ingress
import SessionModel

/// The tools of its own that a request offers to the agent. The agent has its own; tools that Anthropic's servers would
/// run, and those whose form is Anthropic's (`bash_20250124` …), are not offered.
enum OfferedTools {
  private static let longestName = 128

  /// - Throws: `CentaurError` with `invalidType`, `invalidValue`, `missingField`
  static func read(_ body: JSONValue) throws(CentaurError) -> [ClientTool] {
    var tools: [ClientTool] = []
    for (index, tool) in (body["tools"]?.array ?? []).enumerated() {
      guard tool["type"].map({ $0.isNull || $0.string == "custom" }) ?? true else { continue }
      let path = "tools[\(index)]"
      tools.append(
        try ClientTool(tool, schema: "input_schema", path: path, others: tools, longestName: longestName))
    }
    return body["tool_choice"]?["type"]?.string == "none" ? [] : tools
  }
}
