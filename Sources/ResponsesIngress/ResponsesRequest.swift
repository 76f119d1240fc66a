public import SessionModel

/// The body of `POST /v1/responses`, as far as it must be right whoever sends it: what is read has the right type.
///
/// Follows Open Responses 2026-04-24, `CreateResponseBody`; Codex's two dialects are subsets of it with additions. A
/// program's request is held to all of the specification (`RequestFields.check`).
public struct ResponsesRequest: Sendable {
  public let body: JSONValue
  /// The items of `input`; those that it names by their ids as they are, once they were looked up (`ItemReferences`).
  public internal(set) var input: [JSONValue]
  public let streams: Bool
  /// Without `streams` the answer is the response as it begins; the client comes back for the rest.
  public let isBackground: Bool
  /// The conversation that the request names.
  let conversationID: String?

  /// - Parameter needsInput: not where nothing is to be answered, as when a WebSocket is warmed up
  /// - Throws: `CentaurError` whose parameter is the field's path
  public init(_ body: JSONValue, needsInput: Bool = true) throws(CentaurError) {
    guard case .object = body else {
      throw CentaurError(.invalidType, "The body must be an object, not \(body.kindDescription).")
    }
    self.body = body
    try RequestFields.checkTypes(body)
    conversationID = try Self.conversationID(body)
    streams = body["stream"]?.bool ?? false
    // A response that is not kept cannot be come back for (`RequestFields.checkBackground` says so to programs).
    isBackground = body["background"]?.bool == true && body["store"]?.bool != false
    input = needsInput || !Self.isEmpty(body["input"]) ? try Self.items(body["input"]) : []
  }

  private static func isEmpty(_ input: JSONValue?) -> Bool {
    switch input {
    case nil, .null?: true
    case .string(let text)?: text.isEmpty
    case .array(let items)?: items.isEmpty
    default: false
    }
  }

  /// A name, alone or in an object.
  static func conversationID(_ body: JSONValue) throws(CentaurError) -> String? {
    guard let conversation = body["conversation"], !conversation.isNull else { return nil }
    guard let id = conversation.string ?? conversation["id"]?.string else {
      throw CentaurError(
        .invalidType, "'conversation' must be an id, or an object with an 'id'.", parameter: "conversation")
    }
    if let previous = body["previous_response_id"], !previous.isNull {
      throw CentaurError(
        .mutuallyExclusive, "Only one of 'previous_response_id' and 'conversation' may be given.",
        parameter: "conversation")
    }
    return id
  }

  /// The items of an input.
  /// - Throws: `CentaurError` with `missingField`, `emptyInput`, `invalidType`, `invalidValue`
  static func items(_ input: JSONValue?) throws(CentaurError) -> [JSONValue] {
    switch input {
    case nil, .null: throw CentaurError(.missingField, "The request needs 'input'.", parameter: "input")
    case .string(let text):
      guard !text.isEmpty else { throw CentaurError(.emptyInput, "'input' is empty.", parameter: "input") }
      return [["type": "message", "role": "user", "content": .string(text)]]
    case .array(let items):
      guard !items.isEmpty else { throw CentaurError(.emptyInput, "'input' is empty.", parameter: "input") }
      for (index, item) in items.enumerated() { try check(item, path: "input[\(index)]") }
      return items
    case let other?:
      throw CentaurError(
        .invalidType, "'input' must be a string or an array, not \(other.kindDescription).", parameter: "input")
    }
  }

  static func check(_ item: JSONValue, path: String) throws(CentaurError) {
    guard case .object = item else {
      throw CentaurError(.invalidType, "An input item must be an object, not \(item.kindDescription).", parameter: path)
    }
    if let type = item["type"], type.string == nil {
      throw CentaurError(.invalidType, "'type' must be a string.", parameter: "\(path).type")
    }
    guard item["type"]?.string ?? "message" == "message", !InputItem.isReference(item) else { return }
    guard let role = item["role"]?.string else {
      throw CentaurError(.missingField, "A message needs a 'role'.", parameter: "\(path).role")
    }
    guard ["user", "assistant", "system", "developer"].contains(role) else {
      throw CentaurError(.invalidValue, "There is no role '\(role.prefix(32))'.", parameter: "\(path).role")
    }
    switch item["content"] {
    case .string?, .array?: break
    case nil, .null?: throw CentaurError(.missingField, "A message needs 'content'.", parameter: "\(path).content")
    case let other?:
      throw CentaurError(
        .invalidType, "'content' must be a string or an array, not \(other.kindDescription).",
        parameter: "\(path).content")
    }
  }
}
