import SessionModel

/// What the fold must know of the request that it answers. Kept with the reply, so that the same bytes can be made
/// again later; events alone do not hold it.
struct MessagesEcho: Sendable {
  var model: String
  var isClaudeCode: Bool
  /// Reasoning is shown: the request asked for thinking.
  var showsThinking: Bool
  /// A short text for each finished command or edit: Claude Code, and whoever asks for thinking.
  var showsWork: Bool
  /// The request has the tool by which Claude Code takes a structured answer: the one tool that is ever called.
  var hasStructuredOutput: Bool
  /// Texts of this answer that the client has already, oldest first.
  var heldTexts: [String]

  var json: JSONValue {
    [
      "model": .string(model), "claude_code": .bool(isClaudeCode), "thinking": .bool(showsThinking),
      "work": .bool(showsWork), "structured": .bool(hasStructuredOutput),
      "held": .array(heldTexts.map(JSONValue.string)),
    ]
  }

  init(
    model: String, isClaudeCode: Bool, showsThinking: Bool = false, showsWork: Bool = false,
    hasStructuredOutput: Bool = false, heldTexts: [String] = []
  ) {
    self.model = model
    self.isClaudeCode = isClaudeCode
    self.showsThinking = showsThinking
    self.showsWork = showsWork
    self.hasStructuredOutput = hasStructuredOutput
    self.heldTexts = heldTexts
  }

  init(json: JSONValue) {
    self.init(
      model: json["model"]?.string ?? "centaur", isClaudeCode: json["claude_code"]?.bool ?? false,
      showsThinking: json["thinking"]?.bool ?? false, showsWork: json["work"]?.bool ?? false,
      hasStructuredOutput: json["structured"]?.bool ?? false,
      heldTexts: (json["held"]?.array ?? []).compactMap(\.string))
  }
}
