import SessionModel

/// What the fold must know of the request that it answers. Kept with the reply, so that the same bytes can be made
/// again later; events alone do not hold it.
struct ReplyEcho: Sendable {
  var isCodex: Bool
  /// Reasoning and work are shown: Codex, and whoever asks for reasoning summaries.
  var showsWork: Bool
  /// Structured work items (`X-Centaur-Items: full`).
  var showsItems: Bool
  /// Wire ids of output items that the client has already.
  var heldItemIDs: [String]
  /// The fields of the request that a response object repeats.
  var fields: JSONObject

  private static let repeated = [
    "model", "instructions", "previous_response_id", "temperature", "top_p", "presence_penalty", "frequency_penalty",
    "top_logprobs", "max_output_tokens", "max_tool_calls", "metadata", "parallel_tool_calls", "tool_choice", "tools",
    "text", "reasoning", "store", "background", "truncation", "service_tier", "safety_identifier", "prompt_cache_key",
  ]
  /// What Codex sends in these is its own prompt and tools, tens of kilobytes: it does not need them back.
  private static let notForCodex: Set<String> = ["tools", "instructions", "tool_choice", "text", "service_tier"]

  init(body: JSONValue, isCodex: Bool, showsWork: Bool, showsItems: Bool, heldItemIDs: [String]) {
    self.isCodex = isCodex
    self.showsWork = showsWork
    self.showsItems = showsItems
    self.heldItemIDs = heldItemIDs
    fields = JSONObject()
    for name in Self.repeated where !(isCodex && Self.notForCodex.contains(name)) {
      if let value = body[name], !value.isNull { fields.append(name, Self.form(of: name, value)) }
    }
    if let id = body["conversation"].flatMap({ $0.string ?? $0["id"]?.string }) {
      fields.append("conversation", ["id": .string(id)])
    }
  }

  /// The form that a response has the field in, where it is another than the request's.
  private static func form(of name: String, _ value: JSONValue) -> JSONValue {
    switch name {
    case "tools": ToolFields.echo(tools: value)
    case "tool_choice": ToolFields.echo(choice: value)
    case "text": TextFields.echo(value)
    case "reasoning": reasoning(value)
    case "service_tier": ServiceTier.echo(value)
    default: value
    }
  }

  /// The specification has fewer words for efforts than OpenAI's models and harnesses.
  private static func reasoning(_ asked: JSONValue) -> JSONValue {
    let effort: JSONValue =
      switch asked["effort"]?.string {
      case "minimal": "low"
      case "max": "xhigh"
      case let effort? where ["none", "low", "medium", "high", "xhigh"].contains(effort): .string(effort)
      default: .null
      }
    let summary = (asked["summary"] ?? asked["generate_summary"])?.string
    let isSummary = summary.map(["auto", "concise", "detailed"].contains) == true
    return ["effort": effort, "summary": isSummary ? JSONValue(summary) : .null]
  }

  var json: JSONValue {
    [
      "codex": .bool(isCodex), "work": .bool(showsWork), "items": .bool(showsItems),
      "held": .array(heldItemIDs.map(JSONValue.string)), "fields": .object(fields),
    ]
  }

  init(json: JSONValue) {
    isCodex = json["codex"]?.bool ?? false
    showsWork = json["work"]?.bool ?? false
    showsItems = json["items"]?.bool ?? false
    heldItemIDs = (json["held"]?.array ?? []).compactMap(\.string)
    fields = json["fields"]?.object ?? JSONObject()
  }
}
