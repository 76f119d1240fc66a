import SessionModel

/// The message object of Anthropic's API (version 2023-06-01).
struct MessageObject: Sendable {
  let id: String
  let model: String

  func json(content: [JSONValue], stopReason: String?, usage: JSONValue) -> JSONValue {
    [
      "id": .string(id), "type": "message", "role": "assistant", "model": .string(model), "content": .array(content),
      "stop_reason": JSONValue(stopReason), "stop_sequence": .null, "usage": usage,
    ]
  }

  /// What is known of the tokens before the turn has ended.
  static let noUsage = usage(TurnUsage(), isClamped: false)

  /// Claude Code takes the figures for the size of the conversation, compacts by them, and locks its user out of a
  /// session whose figures pass its window (wire/claude-client.md §6).
  private static let clamp = 150_000

  /// The last model call's context and the turn's output.
  static func usage(_ usage: TurnUsage, isClamped: Bool) -> JSONValue {
    var (input, output) = (usage.last.input, usage.sum.output)
    if isClamped {
      output = min(output, clamp)
      input = min(input, clamp - output)
    }
    let cached = min(usage.last.cachedInput, input)
    let written = min(usage.last.cacheWrite, input - cached)
    return [
      "input_tokens": JSONValue(input - cached - written), "cache_creation_input_tokens": JSONValue(written),
      "cache_read_input_tokens": JSONValue(cached), "output_tokens": JSONValue(output),
    ]
  }
}
