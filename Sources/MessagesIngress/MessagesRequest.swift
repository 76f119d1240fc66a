import Ingress
public import SessionModel

/// The body of `POST /v1/messages`, checked: what is known has the right type and range, what is unknown is accepted.
///
/// Follows Anthropic's Messages API (version 2023-06-01) and what Claude Code 2.1.330 makes of it: `role:"system"`
/// messages anywhere, content as a string or as blocks, betas and body keys that nobody else knows
/// (wire/claude-client.md §1).
public struct MessagesRequest: Sendable {
  public let body: JSONValue
  public let messages: [JSONValue]
  public let streams: Bool

  public var model: String { body["model"]?.string ?? "centaur" }

  /// - Throws: `CentaurError` whose parameter is the field's path
  public init(_ body: JSONValue) throws(CentaurError) {
    guard case .object = body else {
      throw CentaurError(.invalidType, "The body must be an object, not \(body.kindDescription).")
    }
    self.body = body
    let fields = BodyFields(body)
    try fields.string("model")
    try fields.bool("stream")
    try fields.integer("max_tokens", in: 1...Int.max)
    try fields.number("temperature", in: 0...1)
    try fields.number("top_p", in: 0...1)
    try fields.integer("top_k", in: 0...Int.max)
    for name in ["metadata", "thinking", "output_config", "thread"] { try fields.object(name) }
    for name in ["tools", "stop_sequences"] { try fields.array(name) }
    try Self.checkSystem(body["system"])
    streams = body["stream"]?.bool ?? false
    messages = try Self.messages(body["messages"])
  }

  private static func checkSystem(_ system: JSONValue?) throws(CentaurError) {
    switch system {
    case nil, .null, .string, .array: return
    case let other?:
      throw CentaurError(
        .invalidType, "'system' must be a string or an array, not \(other.kindDescription).", parameter: "system")
    }
  }

  private static func messages(_ value: JSONValue?) throws(CentaurError) -> [JSONValue] {
    switch value {
    case nil, .null: throw CentaurError(.missingField, "The request needs 'messages'.", parameter: "messages")
    case .array(let messages):
      guard !messages.isEmpty else { throw CentaurError(.emptyInput, "'messages' is empty.", parameter: "messages") }
      for (index, message) in messages.enumerated() { try check(message, path: "messages[\(index)]") }
      return messages
    case let other?:
      throw CentaurError(
        .invalidType, "'messages' must be an array, not \(other.kindDescription).", parameter: "messages")
    }
  }

  private static func check(_ message: JSONValue, path: String) throws(CentaurError) {
    guard case .object = message else {
      throw CentaurError(.invalidType, "A message must be an object, not \(message.kindDescription).", parameter: path)
    }
    guard let role = message["role"]?.string else {
      throw CentaurError(.missingField, "A message needs a 'role'.", parameter: "\(path).role")
    }
    guard ["user", "assistant", "system"].contains(role) else {
      throw CentaurError(.invalidValue, "There is no role '\(role.prefix(32))'.", parameter: "\(path).role")
    }
    switch message["content"] {
    case .string?: return
    case .array(let blocks)?:
      for (index, block) in blocks.enumerated() where block["type"]?.string == nil {
        throw CentaurError(
          .missingField, "A content block must be an object with a 'type'.", parameter: "\(path).content[\(index)].type"
        )
      }
    case nil, .null?: throw CentaurError(.missingField, "A message needs 'content'.", parameter: "\(path).content")
    case let other?:
      throw CentaurError(
        .invalidType, "'content' must be a string or an array, not \(other.kindDescription).",
        parameter: "\(path).content")
    }
  }
}
