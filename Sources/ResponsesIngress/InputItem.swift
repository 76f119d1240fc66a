import ControlPlane
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

  /// An item that only names another one by its id; it may come without a type.
  static func isReference(_ item: JSONValue) -> Bool {
    if let type = item["type"]?.string { return type == "item_reference" }
    return item["id"]?.string != nil && item["role"] == nil && item["content"] == nil
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
    var message = Message(
      role: role, parts: try parts(item["content"] ?? .null, path: "\(path).content"), clientID: item["id"]?.string)
    if role == .assistant { message.phase = MessageItem.Phase(wireName: item["phase"]?.string) }
    return message
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
    case "input_text", "output_text", "text", "summary_text", "reasoning_text":
      guard let text = part["text"]?.string else {
        throw CentaurError(.missingField, "A text part needs 'text'.", parameter: "\(path).text")
      }
      return text.isEmpty ? nil : .text(text)
    case "refusal": return part["refusal"]?.string.map(Message.Part.text)
    case "input_image":
      do { return try InlineData.image(part) } catch { throw error.inside(path).error }
    case "input_file":
      do { return try InlineData.file(part) } catch { throw error.inside(path).error }
    default: return nil
    }
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
        return Message(
          role: .assistant, note: "[called \(item["name"]?.string ?? "a tool"): \(arguments.prefix(1000))]")
      case "function_call_output", "custom_tool_call_output":
        let output = item["output"]?.string ?? item["output"]?.text ?? ""
        return Message(note: "[tool output: \(output.prefix(4000))]")
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
