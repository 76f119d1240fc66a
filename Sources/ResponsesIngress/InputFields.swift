import SessionModel

/// The items of a program's `input` (Open Responses 2026-04-24, `ItemParam`).
///
/// Items of OpenAI's that this server never makes are known by name, since a history may hold them. One of a vendor has
/// a colon in its type.
enum InputFields {
  static func check(_ input: JSONValue) throws(FieldFault) {
    if case .string = input { return try FieldShape.string(longest: RequestFields.longestText).check(input) }
    try FieldShape.list(of: .checked(checkItem)).check(input)
  }

  /// Holds an item that stands elsewhere than in an `input` to the same.
  /// - Parameter path: its place in the body
  /// - Throws: `CentaurError` with `invalidType`, `invalidValue`, `missingField`, `unsupported`
  static func check(_ item: JSONValue, path: String) throws(CentaurError) {
    do { try checkItem(item) } catch { throw error.inside(path).error }
  }

  private static let callID = FieldMember("call_id", .checked(checkCallID), isRequired: true)
  private static let text = FieldShape.string(longest: RequestFields.longestText)

  private static let items: [String: FieldShape] = [
    "item_reference": .object([FieldMember("id", .string(longest: 512), isRequired: true)]),
    "reasoning": .object([
      FieldMember("id", .string(longest: 512)), FieldMember("encrypted_content", .string()),
      FieldMember("summary", .list(of: .object([FieldMember("text", text, isRequired: true)])), isRequired: true),
    ]),
    "compaction": .object([FieldMember("encrypted_content", text, isRequired: true)]),
    "function_call": .object([
      callID, FieldMember("name", .string(longest: 128), isRequired: true),
      FieldMember("arguments", .string(), isRequired: true), status,
    ]),
    "function_call_output": .object([
      callID, FieldMember("output", .checked(checkOutput), isRequired: true), status,
    ]),
  ]

  private static let status = FieldMember("status", .oneOf(["in_progress", "completed", "incomplete"]))

  private static let ofOpenAI: Set<String> = [
    "custom_tool_call", "custom_tool_call_output", "web_search_call", "file_search_call", "computer_call",
    "computer_call_output", "image_generation_call", "code_interpreter_call", "local_shell_call",
    "local_shell_call_output", "shell_call", "shell_call_output", "apply_patch_call", "apply_patch_call_output",
    "mcp_list_tools", "mcp_approval_request", "mcp_approval_response", "mcp_call", "tool_search_call",
    "tool_search_output", "additional_tools", "compaction_trigger", "agent_message", "program",
  ]

  private static let item = FieldShape.object([
    FieldMember("type", .string(longest: 128)), FieldMember("id", .string(longest: 512)),
  ])

  private static func checkItem(_ item: JSONValue) throws(FieldFault) {
    try Self.item.check(item)
    let type = item["type"]?.string ?? (InputItem.isReference(item) ? "item_reference" : "message")
    if type == "message" { return try checkMessage(item) }
    if let shape = items[type] { return try shape.check(item) }
    guard type.contains(":") || ofOpenAI.contains(type) else {
      throw FieldFault(.invalidValue, "is '\(type)', which is no item that this API knows").inside("type")
    }
  }

  private static func checkCallID(_ value: JSONValue) throws(FieldFault) {
    let id = try FieldShape.text(value)
    guard !id.isEmpty, id.unicodeScalars.count <= 64 else {
      throw FieldFault(.invalidValue, "must have 1 to 64 characters")
    }
  }

  private static func checkOutput(_ output: JSONValue) throws(FieldFault) {
    if case .string = output { return try text.check(output) }
    guard output.array != nil else { throw .wrongType("a string or an array", output) }
    try partsOfUser.check(output)
  }

  // MARK: Messages

  private static let message = FieldShape.object([
    FieldMember("role", .oneOf(["user", "assistant", "system", "developer"]), isRequired: true),
    FieldMember("phase", .oneOf(["commentary", "final_answer"])), FieldMember("status", .string(longest: 64)),
  ])
  private static let contentOfUser = FieldMember("content", content(partsOfUser), isRequired: true)
  private static let contentOfOthers = FieldMember("content", content(partsOfOthers), isRequired: true)

  private static func checkMessage(_ item: JSONValue) throws(FieldFault) {
    try message.check(item)
    try (item["role"]?.string == "user" ? contentOfUser : contentOfOthers).check(in: item)
  }

  private static func content(_ parts: FieldShape) -> FieldShape {
    .checked { (content) throws(FieldFault) in
      if case .string = content { return try text.check(content) }
      guard content.array != nil else { throw .wrongType("a string or an array", content) }
      try parts.check(content)
    }
  }

  // MARK: Parts

  private static let partsOfUser = FieldShape.list(
    of: .checked { (part) throws(FieldFault) in try checkPart(part, isOfUser: true) })
  private static let partsOfOthers = FieldShape.list(
    of: .checked { (part) throws(FieldFault) in try checkPart(part, isOfUser: false) })
  private static let part = FieldShape.object([FieldMember("type", .string(longest: 128), isRequired: true)])
  private static let textPart = FieldMember("text", text, isRequired: true)
  private static let refusalPart = FieldMember("refusal", text, isRequired: true)
  private static let detail = FieldMember("detail", .oneOf(InlineData.details))

  private static func checkPart(_ part: JSONValue, isOfUser: Bool) throws(FieldFault) {
    try Self.part.check(part)
    switch part["type"]?.string ?? "" {
    case "input_text", "output_text", "text", "summary_text", "reasoning_text": try textPart.check(in: part)
    case "refusal": try refusalPart.check(in: part)
    case "input_image" where isOfUser:
      try detail.check(in: part)
      _ = try InlineData.image(part)
    case "input_file" where isOfUser: _ = try InlineData.file(part)
    case let type where ["input_image", "input_file"].contains(type):
      throw FieldFault(.invalidValue, "is '\(type)', which only a user's message may hold").inside("type")
    case let type where ["input_audio", "input_video", "computer_screenshot"].contains(type):
      throw FieldFault(.unsupported, "is '\(type)', which no harness takes").inside("type")
    case let type:
      throw FieldFault(.invalidValue, "is '\(type)', which is no content that this API knows").inside("type")
    }
  }
}
