import ControlPlane
import SessionModel

/// An item of a conversation as lists of items show it (OpenAI's `ResponseItem` and `ConversationItem`): what was said,
/// and calls of the client's own functions. The agent's work and its reasoning are in the responses that asked for them.
struct ShownItem: Sendable, Hashable {
  let id: String
  let json: JSONValue

  static func items(of entry: ListedConversation.Entry) -> [ShownItem] {
    switch entry {
    case .waiting(let item): [ShownItem(id: item.id, json: item.shown)]
    case .event(let event): items(of: event)
    }
  }

  private static func items(of event: SessionEvent) -> [ShownItem] {
    switch event.payload {
    case .sessionCreated(let created):
      guard let instructions = created.instructions else { return [] }
      return [message(ListedConversation.itemID(event), "system", Message(role: .system, parts: [.text(instructions)]))]
    case .messageAppended(let said):
      return [message(wireID(of: said) ?? ListedConversation.itemID(event), said.role.rawValue, said)]
    case .itemCompleted(let item):
      guard let execution = event.executionID else { return [] }
      return output(item, of: execution)
    case .executionWaiting(let calls, _): return calls.map(call)
    case .executionResumed(let outputs, _): return outputs.map(output)
    default: return []
    }
  }

  /// A client's own id of what it said, where it is in this API's form: Codex's, and those that we gave to added items.
  private static func wireID(of message: Message) -> String? {
    guard let id = message.clientID, let end = id.firstIndex(of: "_") else { return nil }
    return prefixes.values.contains(String(id[..<end])) || id.hasPrefix("item_") ? id : nil
  }

  private static func output(_ item: Item, of execution: ExecutionID) -> [ShownItem] {
    switch item.content {
    case .message(let message) where !message.text.isEmpty:
      let id = "msg_\(execution)_\(item.ordinal)"
      var object = JSONObject()
      object.append("type", "message")
      object.append("id", .string(id))
      object.append("status", item.status == .incomplete ? "incomplete" : "completed")
      object.append("role", "assistant")
      object.append("content", [outputText(message.text)])
      if let phase = message.phase { object.append("phase", .string(phase.wireName)) }
      return [ShownItem(id: id, json: .object(object))]
    default: return []
    }
  }

  private static func call(_ call: ClientCall) -> ShownItem {
    let id = ListedConversation.itemID(of: call.id)
    return ShownItem(
      id: id,
      json: [
        "type": "function_call", "id": .string(id), "call_id": .string(call.id.description),
        "name": .string(call.name), "arguments": .string(call.arguments.string ?? call.arguments.text),
        "status": "completed",
      ])
  }

  /// What a client's function said, as the client gave it: one text, or parts.
  private static func output(_ output: ToolOutput) -> ShownItem {
    let id = ListedConversation.itemID(ofOutputOf: output.call)
    let said: JSONValue =
      switch output.parts.first {
      case nil: ""
      case .text(let text)? where output.parts.count == 1: .string(text)
      default: .array(output.parts.map { inputPart($0) })
      }
    return ShownItem(
      id: id,
      json: [
        "type": "function_call_output", "id": .string(id), "call_id": .string(output.call.description),
        "output": said, "status": "completed",
      ])
  }

  private static func inputPart(_ part: Message.Part) -> JSONValue {
    switch part {
    case .text(let text): ["type": "input_text", "text": .string(text)]
    case .image(let url, let detail):
      ["type": "input_image", "image_url": .string(url), "detail": .string(detail ?? "auto")]
    case .file(let name, let url):
      ["type": "input_file", "filename": .string(name ?? "file"), "file_data": .string(url)]
    }
  }

  private static func outputText(_ text: String) -> JSONValue {
    ["type": "output_text", "text": .string(text), "annotations": [], "logprobs": []]
  }

  /// A message that a client said, or brought along.
  static func message(_ id: String, _ role: String, _ message: Message) -> ShownItem {
    let content: [JSONValue] = message.parts.map { part in
      if case .text(let text) = part, message.role == .assistant { outputText(text) } else { inputPart(part) }
    }
    let shown: JSONValue = [
      "type": "message", "id": .string(id), "status": "completed", "role": .string(role), "content": .array(content),
    ]
    guard let phase = message.phase, var object = shown.object else { return ShownItem(id: id, json: shown) }
    object.append("phase", .string(phase.wireName))
    return ShownItem(id: id, json: .object(object))
  }

  // MARK: Added by a client

  /// A message of a request, and how it is shown to who sent it.
  /// - Throws: `CentaurError` with `unsupported`, `invalidType`, `missingField`
  static func said(
    _ item: JSONValue, _ path: String, id: String
  ) throws(CentaurError) -> (message: Message, shown: ShownItem) {
    let message = try InputItem.message(item, path: path)
    return (message, self.message(id, item["role"]?.string ?? "user", message))
  }

  private static let prefixes = [
    "message": "msg", "reasoning": "rs", "function_call": "fc", "function_call_output": "fco", "compaction": "cmp",
    "custom_tool_call": "ctc", "custom_tool_call_output": "ctco",
  ]

  /// What a client puts into a conversation, under an id of ours.
  /// - Throws: `CentaurError` with `unsupported`, `invalidType`, `missingField`
  static func added(_ item: JSONValue, path: String, name: String) throws(CentaurError) -> AddedItem {
    let type = item["type"]?.string ?? "message"
    guard type != "item_reference" else {
      throw CentaurError(.unsupported, "An item must be given itself, not by its id.", parameter: path)
    }
    let id = "\(prefixes[type] ?? "item")_\(name)"
    if type == "message" {
      var (message, shown) = try said(item, path, id: id)
      message.clientID = nil
      return AddedItem(id: id, shown: shown.json, message: message)
    }
    var shown = item.object ?? JSONObject()
    shown["id"] = .string(id)
    if type.hasSuffix("_call") || type.hasSuffix("_call_output"), shown["status"] == nil {
      shown["status"] = "completed"
    }
    return AddedItem(
      id: id, shown: .object(shown),
      message: InputItem.history([item]).first ?? Message(role: .assistant, parts: []))
  }
}
