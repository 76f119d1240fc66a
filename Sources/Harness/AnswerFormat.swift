import SessionModel

/// A schema for the turn's final answer, in words: for where a harness cannot hold its model to it.
enum AnswerFormat {
  static func words(_ schema: JSONValue) -> String {
    "<answer_format>\nAnswer with JSON only, without a code fence, valid against this schema:\n\(schema.text)\n"
      + "</answer_format>"
  }

  /// Codex holds its model to a schema only by OpenAI's strict rules: a provider refuses any other.
  static func canBeStrict(_ schema: JSONValue) -> Bool { JSONSchema(schema).reasonNotStrict == nil }
}
