import SessionModel

/// The response object (Open Responses 2026-04-24, `ResponseResource`): all required members, nullable ones as null.
struct ResponseObject: Sendable {
  let id: String
  let createdAt: Timestamp
  let echo: ReplyEcho
  /// What the log warned of while the turn was followed: `code`, `message`.
  private(set) var warnings: [JSONValue] = []

  init(id: String, createdAt: Timestamp, echo: ReplyEcho) {
    self.id = id
    self.createdAt = createdAt
    self.echo = echo
  }

  mutating func warn(_ code: String, _ message: String) {
    warnings.append(["code": .string(code), "message": .string(message)])
  }

  var model: String { echo.fields["model"]?.string ?? "centaur" }

  /// - Parameters:
  ///   - completedAt: when the turn ended, where it has.
  ///   - error: of a failed response: a code of this API and a sentence.
  func json(
    status: String, output: [JSONValue] = [], completedAt: Timestamp? = nil,
    error: (code: String, message: String)? = nil, incompleteReason: String? = nil, usage: TurnUsage? = nil
  ) -> JSONValue {
    func field(_ name: String, _ otherwise: JSONValue) -> JSONValue { echo.fields[name] ?? otherwise }
    var object = JSONObject()
    object.append("id", .string(id))
    object.append("object", "response")
    object.append("created_at", .int(createdAt.seconds))
    object.append("completed_at", completedAt.map { .int($0.seconds) } ?? .null)
    object.append("status", .string(status))
    object.append("incomplete_details", incompleteReason.map { ["reason": .string($0)] } ?? .null)
    object.append("model", .string(model))
    object.append("previous_response_id", field("previous_response_id", .null))
    object.append("instructions", field("instructions", .null))
    object.append("output", .array(output))
    object.append(
      "error", error.map { ["code": .string($0.code), "message": .string($0.message)] } ?? .null)
    object.append("tools", field("tools", []))
    object.append("tool_choice", field("tool_choice", "auto"))
    object.append("truncation", field("truncation", "disabled"))
    object.append("parallel_tool_calls", field("parallel_tool_calls", true))
    object.append("text", field("text", ["format": ["type": "text"]]))
    object.append("top_p", field("top_p", 1))
    object.append("presence_penalty", field("presence_penalty", 0))
    object.append("frequency_penalty", field("frequency_penalty", 0))
    object.append("top_logprobs", field("top_logprobs", 0))
    object.append("temperature", field("temperature", 1))
    object.append("reasoning", field("reasoning", .null))
    object.append("usage", usage.map(Self.usage) ?? .null)
    object.append("max_output_tokens", field("max_output_tokens", .null))
    object.append("max_tool_calls", field("max_tool_calls", .null))
    object.append("store", field("store", true))
    object.append("background", field("background", false))
    object.append("service_tier", field("service_tier", "default"))
    object.append("metadata", field("metadata", .object(JSONObject())))
    object.append("safety_identifier", field("safety_identifier", .null))
    object.append("prompt_cache_key", field("prompt_cache_key", .null))
    if let conversation = echo.fields["conversation"] { object.append("conversation", conversation) }
    if let usage { object.append("centaur_usage", usage.json) }
    if !warnings.isEmpty { object.append("centaur_warnings", .array(warnings)) }
    return .object(object)
  }

  /// The last model call's input is the size of the conversation, by which CLIs compact; the output is the turn's. The
  /// bill is in `centaur_usage`.
  static func usage(_ usage: TurnUsage) -> JSONValue {
    let input = usage.last.input
    let output = usage.sum.output
    return [
      "input_tokens": JSONValue(input),
      // OpenAI's SDK (3.57) needs the number of what was written to the cache, also where it is 0.
      "input_tokens_details": [
        "cached_tokens": JSONValue(usage.last.cachedInput), "cache_write_tokens": JSONValue(usage.last.cacheWrite),
      ],
      "output_tokens": JSONValue(output),
      "output_tokens_details": ["reasoning_tokens": JSONValue(usage.sum.reasoning)],
      "total_tokens": JSONValue(input + output),
    ]
  }
}
