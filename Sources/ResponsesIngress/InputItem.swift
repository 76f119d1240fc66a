import SessionModel

/// Reads items of a request's `input`.
enum InputItem {
  /// The text of the first text part.
  static func firstText(_ item: JSONValue) -> String {
    switch item["content"] {
    case .string(let text)?: text
    case .array(let parts)?: parts.lazy.compactMap { $0["text"]?.string }.first ?? ""
    default: ""
    }
  }

  static func isMessage(_ item: JSONValue, _ roles: Set<String>) -> Bool {
    let type = item["type"]?.string
    guard type == nil || type == "message", let role = item["role"]?.string else { return false }
    return roles.contains(role)
  }

  /// The message that an item is, `path` being its place in the body.
  /// - Throws: `CentaurError` with `unsupported`, `invalidType`, `missingField`
  static func message(_ item: JSONValue, path: String) throws(CentaurError) -> Message {
    let role: Message.Role =
      switch item["role"]?.string {
      case "assistant": .assistant
      case "developer", "system": .system
      default: .user
      }
    return Message(
      role: role, parts: try parts(item["content"] ?? .null, path: "\(path).content"), clientID: item["id"]?.string)
  }

  static func parts(_ content: JSONValue, path: String) throws(CentaurError) -> [Message.Part] {
    switch content {
    case .string(let text): return text.isEmpty ? [] : [.text(text)]
    case .null: return []
    case .array(let elements):
      var parts: [Message.Part] = []
      for (index, element) in elements.enumerated() {
        if let part = try part(element, path: "\(path)[\(index)]") { parts.append(part) }
      }
      return parts
    default:
      throw CentaurError(
        .invalidType, "Content must be a string or an array, not \(content.kindDescription).", parameter: path)
    }
  }

  private static func part(_ part: JSONValue, path: String) throws(CentaurError) -> Message.Part? {
    switch part["type"]?.string {
    case "input_text", "output_text", "text", "summary_text":
      guard let text = part["text"]?.string else {
        throw CentaurError(.missingField, "A text part needs 'text'.", parameter: "\(path).text")
      }
      return text.isEmpty ? nil : .text(text)
    case "refusal": return part["refusal"]?.string.map(Message.Part.text)
    case "input_image":
      guard let url = part["image_url"]?.string else {
        throw CentaurError(
          .unsupported, "An image must be given as 'image_url' with a data: URL.", parameter: "\(path).image_url")
      }
      return .image(dataURL: try dataURL(url, "\(path).image_url"))
    case "input_file":
      guard let data = part["file_data"]?.string else {
        throw CentaurError(
          .unsupported, "A file must be given as 'file_data'; addresses and uploads are not fetched.",
          parameter: "\(path).file_data")
      }
      return .file(name: part["filename"]?.string, dataURL: try dataURL(data, "\(path).file_data"))
    default: return nil
    }
  }

  private static func dataURL(_ url: String, _ path: String) throws(CentaurError) -> String {
    guard url.hasPrefix("data:"), url.contains(",") else {
      throw CentaurError(.unsupported, "Only data: URLs are taken; addresses are never fetched.", parameter: path)
    }
    return url
  }

  /// What the user and the assistant said, for a harness that is told the conversation by us; tool calls as short notes.
  static func history(_ items: some Sequence<JSONValue>) -> [Message] {
    items.compactMap { item in
      switch item["type"]?.string {
      case nil, "message":
        guard isMessage(item, ["user", "assistant"]), !ClientContext.isContext(item),
          let message = try? message(item, path: "input"), !message.parts.isEmpty
        else { return nil }
        return message
      case "function_call", "custom_tool_call":
        let arguments = item["arguments"]?.string ?? item["input"]?.string ?? ""
        let text = "[called \(item["name"]?.string ?? "a tool"): \(arguments.prefix(1000))]"
        return Message(role: .assistant, parts: [.text(text)])
      case "function_call_output", "custom_tool_call_output":
        let output = item["output"]?.string ?? item["output"]?.text ?? ""
        return Message(role: .user, parts: [.text("[tool output: \(output.prefix(4000))]")])
      default: return nil
      }
    }
  }
}

/// What Codex adds to the conversation by itself, in messages of the role `user` (wire/codex-client.md §1.4).
enum ClientContext {
  private static let prefixes = [
    "<environment_context>", "# AGENTS.md instructions", "<user_shell_command>", "<turn_aborted>",
    "<subagent_notification>", "<skill>", "<skills_instructions>", "<permissions instructions>", "<model_switch>",
  ]
  private static let summary =
    "Another language model started to solve this problem and produced a summary"

  static func isContext(_ item: JSONValue) -> Bool {
    let text = InputItem.firstText(item)
    return prefixes.contains { text.hasPrefix($0) } || text.hasPrefix(summary)
  }

  static func isAbort(_ item: JSONValue) -> Bool { InputItem.firstText(item).hasPrefix("<turn_aborted>") }

  /// Context that no person can have typed: it comes behind their input by itself.
  static func isNeverTyped(_ item: JSONValue) -> Bool {
    let text = InputItem.firstText(item)
    return text.hasPrefix(summary) || text.hasPrefix("<subagent_notification>") || text.hasPrefix("<turn_aborted>")
  }
}
