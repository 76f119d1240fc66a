import SessionModel

/// Writes content blocks one after another, with rising index, and keeps each finished one for the message object.
///
/// A text block is opened by its first piece: an empty one is never written. Texts that the client has already are
/// left out, for as long as what is written is what it has.
struct BlockWriter: Sendable {
  private(set) var content: [JSONValue] = []
  private var open: OpenBlock?
  private var held: ArraySlice<String>

  private enum OpenBlock: Sendable {
    case text(String)
    case thinking(String)
    /// A text that may be the next one that the client has.
    case compared(String)
  }

  /// Clients send it back as it is and nobody checks it.
  private let signature: JSONValue

  init(held: [String], signature: String = "Y2VudGF1cg==") {
    self.held = held[...]
    self.signature = .string(signature)
  }

  private var index: JSONValue { JSONValue(content.count) }

  private func start(_ block: JSONValue) -> MessagesEvent {
    MessagesEvent("content_block_start", [("index", index), ("content_block", block)])
  }

  private func delta(_ delta: JSONValue) -> MessagesEvent {
    MessagesEvent("content_block_delta", [("index", index), ("delta", delta)])
  }

  private mutating func finish(_ block: JSONValue) -> MessagesEvent {
    defer { content.append(block) }
    return MessagesEvent("content_block_stop", [("index", index)])
  }

  // MARK: Text

  mutating func addText(_ piece: String) -> [MessagesEvent] {
    guard !piece.isEmpty else { return [] }
    switch open {
    case .text(var text):
      // Taken out while it grows, so that the text is not copied with each piece.
      open = nil
      text += piece
      open = .text(text)
      return [delta(["type": "text_delta", "text": .string(piece)])]
    case .compared(var text):
      open = nil
      text += piece
      open = .compared(text)
      return []
    case .thinking: return closeOpen() + addText(piece)
    case nil:
      guard held.isEmpty else {
        open = .compared(piece)
        return []
      }
      open = .text(piece)
      return [start(["type": "text", "text": ""]), delta(["type": "text_delta", "text": .string(piece)])]
    }
  }

  /// A text that is known as a whole.
  mutating func text(_ text: String) -> [MessagesEvent] { closeOpen() + addText(text) + closeOpen() }

  /// A text that is written even where the client has it.
  mutating func repeated(_ text: String) -> [MessagesEvent] {
    let before = closeOpen()
    held = []
    return before + self.text(text)
  }

  // MARK: Thinking

  mutating func addThinking(_ piece: String) -> [MessagesEvent] {
    guard !piece.isEmpty, held.isEmpty else { return [] }
    if case .thinking(var text) = open {
      open = nil
      text += piece
      open = .thinking(text)
      return [delta(["type": "thinking_delta", "thinking": .string(piece)])]
    }
    let before = closeOpen()
    open = .thinking(piece)
    return before + [
      start(["type": "thinking", "thinking": "", "signature": ""]),
      delta(["type": "thinking_delta", "thinking": .string(piece)]),
    ]
  }

  /// Ends the open block, where there is one.
  mutating func closeOpen() -> [MessagesEvent] {
    guard let block = open else { return [] }
    open = nil
    switch block {
    case .text(let text): return [finish(["type": "text", "text": .string(text)])]
    case .thinking(let text):
      let signed = delta(["type": "signature_delta", "signature": signature])
      return [signed, finish(["type": "thinking", "thinking": .string(text), "signature": signature])]
    case .compared(let text):
      guard held.first != text else {
        held.removeFirst()
        return []
      }
      held = []
      return addText(text) + closeOpen()
    }
  }

  // MARK: Tools

  /// The structured answer that Claude Code asked for by its own tool: it runs nothing.
  mutating func structuredOutput(_ value: JSONValue, id: String) -> [MessagesEvent] {
    toolUse(TurnReading.structuredOutput, value, id: id)
  }

  /// A call of the client's tool.
  mutating func toolUse(_ call: ClientCall) -> [MessagesEvent] {
    toolUse(call.name, call.arguments, id: call.id.name("toolu"))
  }

  private mutating func toolUse(_ name: String, _ input: JSONValue, id: String) -> [MessagesEvent] {
    let call: JSONValue = [
      "type": "tool_use", "id": .string(id), "name": .string(name), "input": .object(JSONObject()),
    ]
    var whole = call.object ?? JSONObject()
    whole["input"] = input
    let before = closeOpen()
    return before + [
      start(call), delta(["type": "input_json_delta", "partial_json": .string(input.text)]), finish(.object(whole)),
    ]
  }
}
