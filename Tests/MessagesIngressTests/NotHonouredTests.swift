import ControlPlane
import Ingress
import SessionModel
import Testing

@testable import MessagesIngress

/// What a program asks of `/v1/messages` in vain. A failure here means that its author believes in a setting that does
/// nothing.
struct NotHonouredTests {
  private static func turn(_ members: JSONValue, _ headers: [String: String] = [:]) throws -> TurnRequest {
    var body = members.object ?? JSONObject()
    body["messages"] = [["role": "user", "content": "x"]]
    let reading = TurnReading(try MessagesRequest(.object(body)), headers: RequestHeaders(headers))
    return try reading.turn(try reading.input(), of: .local).0
  }

  private static let wishes: JSONValue = [
    "max_tokens": 10, "temperature": 0.2, "top_p": 0.5, "top_k": 3, "stop_sequences": ["END"],
    "tool_choice": ["type": "any", "disable_parallel_tool_use": true],
    "tools": [
      ["name": "f", "input_schema": ["type": "object"]], ["type": "web_search_20250305", "name": "web_search"],
    ],
    "thinking": ["type": "enabled", "budget_tokens": 1024, "display": "omitted"],
    "output_config": ["effort": "low", "task_budget": ["total": 1]], "service_tier": "standard_only", "speed": "fast",
    "container": "c", "mcp_servers": [["type": "url", "url": "https://x", "name": "n"]],
    "context_management": ["edits": [["type": "x"]]], "inference_geo": "eu", "metadata": ["user_id": "u"],
  ]

  @Test("all of it is named to a program, once and in order; what is honoured, and what must be sent, is not")
  func named() throws {
    let expected = [
      "temperature", "top_p", "top_k", "stop_sequences", "tool_choice", "tools web_search_20250305",
      "thinking.budget_tokens", "thinking.display", "output_config.task_budget", "service_tier", "speed", "container",
      "mcp_servers", "context_management", "inference_geo",
    ]
    #expect(NotHonoured(messages: Self.wishes).fields == expected)
    let said = try #require(try Self.turn(Self.wishes).notHonoured)
    #expect(said.contains(expected.joined(separator: ", ")) && !said.contains("max_tokens") && !said.contains("effort"))
  }

  @Test("the usual values ask for nothing")
  func usual() throws {
    let body: JSONValue = [
      "max_tokens": 10, "temperature": 1, "top_p": 1, "top_k": .null, "stop_sequences": [],
      "tool_choice": ["type": "auto"],
      "thinking": ["type": "adaptive", "display": "summarized"], "output_config": ["effort": "high"],
      "service_tier": "auto", "speed": "standard", "mcp_servers": [], "context_management": [:], "container": .null,
    ]
    #expect(try Self.turn(body).notHonoured == nil)
  }

  @Test("Claude Code, which sends its own with each request, is told nothing")
  func claudeCode() throws {
    let headers = ["x-claude-code-session-id": "00000000-0000-4000-8000-000000000000"]
    #expect(try Self.turn(Self.wishes, headers).notHonoured == nil)
  }

  @Test("a schema for the answer is taken under its name of today and that of the betas")
  func formats() throws {
    let form: JSONValue = ["type": "json_schema", "schema": ["type": "object"]]
    for body: JSONValue in [["output_config": ["format": form]], ["output_format": form]] {
      #expect(try Self.turn(body).options.outputSchema == ["type": "object"])
    }
  }

  static let wrong: [(JSONValue, CentaurError.Code, String)] = [
    (["type": "text"], .invalidValue, "output_config.format.type"),
    (["type": "json_schema"], .missingField, "output_config.format.schema"),
    (["type": "json_schema", "schema": 3], .invalidType, "output_config.format.schema"),
    (
      ["type": "json_schema", "schema": ["properties": ["n": ["type": "int"]]]], .invalidValue,
      "output_config.format.schema.properties.n.type"
    ),
  ]

  @Test("a format that cannot be is refused before the agent has worked for it", arguments: wrong)
  func wrongFormats(_ form: JSONValue, _ code: CentaurError.Code, _ path: String) {
    let error = #expect(throws: CentaurError.self) { try Self.turn(["output_config": ["format": form]]) }
    #expect(error?.code == code && error?.parameter == path)
  }
}
