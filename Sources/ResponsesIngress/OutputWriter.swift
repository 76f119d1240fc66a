import ControlPlane
import SessionModel

/// Writes output items one after another: numbers events and items, keeps each finished item for the response object,
/// and has at most one item open, because Codex reads them so.
struct OutputWriter: Sendable {
  private(set) var sequence = 0
  private(set) var output: [JSONValue] = []
  private(set) var open: OpenItem?
  private let held: Set<String>

  enum OpenItem: Sendable {
    /// A message whose text grows. Its end may wait until it is known whether it is the last.
    case message(id: String, text: String)
    /// Reasoning: summary parts, the last of which may be open.
    case reasoning(id: String, parts: [String], hasOpenPart: Bool)
  }

  init(held: [String]) { self.held = Set(held) }

  /// The finished items, and the open one as far as it has come.
  /// - Parameter phase: of an open message, where it is known already
  func outputSoFar(phase: String?) -> [JSONValue] {
    switch open {
    case nil: output
    case .message(let id, let text)?:
      output + [Self.messageItem(id, "in_progress", [Self.textPart(text)], phase: phase)]
    case .reasoning(let id, let parts, _)?: output + [Self.reasoningItem(id, "in_progress", parts)]
    }
  }

  /// Whether the client has the item already.
  func isHeld(_ id: String) -> Bool { held.contains(id) }

  mutating func event(_ type: String, _ members: [(String, JSONValue)]) -> ResponsesEvent {
    var object = JSONObject()
    object.append("type", .string(type))
    object.append("sequence_number", JSONValue(sequence))
    sequence += 1
    for (key, value) in members { object.append(key, value) }
    return ResponsesEvent(type: type, data: .object(object))
  }

  private var index: JSONValue { JSONValue(output.count) }

  private static func messageItem(_ id: String, _ status: String, _ content: [JSONValue], phase: String?) -> JSONValue {
    var object = JSONObject()
    object.append("type", "message")
    object.append("id", .string(id))
    object.append("status", .string(status))
    object.append("role", "assistant")
    object.append("content", .array(content))
    if let phase { object.append("phase", .string(phase)) }
    return .object(object)
  }

  private static func textPart(_ text: String) -> JSONValue {
    ["type": "output_text", "text": .string(text), "annotations": [], "logprobs": []]
  }

  // MARK: Messages

  /// - Parameter phase: where it is known already.
  mutating func openMessage(_ id: String, phase: String?) -> [ResponsesEvent] {
    open = .message(id: id, text: "")
    let item = Self.messageItem(id, "in_progress", [], phase: phase)
    return [
      event("response.output_item.added", [("output_index", index), ("item", item)]),
      event(
        "response.content_part.added",
        [
          ("item_id", .string(id)), ("output_index", index), ("content_index", 0), ("part", Self.textPart("")),
        ]),
    ]
  }

  mutating func addText(_ delta: String) -> [ResponsesEvent] {
    guard case .message(let id, var text)? = open else { return [] }
    // Taken out while it grows, so that the text is not copied with each piece.
    open = nil
    text += delta
    open = .message(id: id, text: text)
    return [
      event(
        "response.output_text.delta",
        [
          ("item_id", .string(id)), ("output_index", index), ("content_index", 0), ("delta", .string(delta)),
          ("logprobs", []),
        ])
    ]
  }

  /// What the pieces of the open message lack of its whole text: a client adds pieces up. Nothing where they are no
  /// beginning of it.
  mutating func addRest(of whole: String) -> [ResponsesEvent] {
    guard case .message(_, let text)? = open, let rest = whole.rest(behind: text), !rest.isEmpty else { return [] }
    return addText(rest)
  }

  /// - Parameters:
  ///   - text: the whole text, where it is known better than by its pieces.
  ///   - end: one more piece, where there is any text
  mutating func closeMessage(
    phase: String, status: String = "completed", text whole: String? = nil, end: String = ""
  ) -> [ResponsesEvent] {
    guard case .message(let id, let collected)? = open else { return [] }
    let said = whole ?? collected
    let end = said.isEmpty ? "" : end
    let last = end.isEmpty ? [] : addText(end)
    let text = said + end
    let part = Self.textPart(text)
    let item = Self.messageItem(id, status, [part], phase: phase)
    let place: [(String, JSONValue)] = [
      ("item_id", .string(id)), ("output_index", index), ("content_index", 0),
    ]
    let events =
      last + [
        event("response.output_text.done", place + [("text", .string(text)), ("logprobs", [])]),
        event("response.content_part.done", place + [("part", part)]),
        event("response.output_item.done", [("output_index", index), ("item", item)]),
      ]
    output.append(item)
    open = nil
    return events
  }

  // MARK: Reasoning

  private static func reasoningItem(_ id: String, _ status: String, _ parts: [String]) -> JSONValue {
    [
      "type": "reasoning", "id": .string(id), "status": .string(status),
      "summary": .array(parts.map { ["type": "summary_text", "text": .string($0)] }),
    ]
  }

  mutating func openReasoning(_ id: String) -> [ResponsesEvent] {
    open = .reasoning(id: id, parts: [], hasOpenPart: false)
    return [
      event(
        "response.output_item.added", [("output_index", index), ("item", Self.reasoningItem(id, "in_progress", []))])
    ]
  }

  mutating func openPart() -> [ResponsesEvent] {
    let closed = closePart()
    guard case .reasoning(let id, var parts, _)? = open else { return closed }
    open = nil
    parts.append("")
    open = .reasoning(id: id, parts: parts, hasOpenPart: true)
    return closed + [
      event(
        "response.reasoning_summary_part.added",
        [
          ("item_id", .string(id)), ("output_index", index), ("summary_index", JSONValue(parts.count - 1)),
          ("part", ["type": "summary_text", "text": ""]),
        ])
    ]
  }

  mutating func addSummary(_ delta: String) -> [ResponsesEvent] {
    guard case .reasoning(let id, var parts, true)? = open, !delta.isEmpty else { return [] }
    open = nil
    parts[parts.count - 1] += delta
    open = .reasoning(id: id, parts: parts, hasOpenPart: true)
    return [
      event(
        "response.reasoning_summary_text.delta",
        [
          ("item_id", .string(id)), ("output_index", index), ("summary_index", JSONValue(parts.count - 1)),
          ("delta", .string(delta)),
        ])
    ]
  }

  private mutating func closePart() -> [ResponsesEvent] {
    guard case .reasoning(let id, let parts, true)? = open, let text = parts.last else { return [] }
    open = .reasoning(id: id, parts: parts, hasOpenPart: false)
    let place: [(String, JSONValue)] = [
      ("item_id", .string(id)), ("output_index", index), ("summary_index", JSONValue(parts.count - 1)),
    ]
    return [
      event("response.reasoning_summary_text.done", place + [("text", .string(text))]),
      event(
        "response.reasoning_summary_part.done",
        place + [("part", ["type": "summary_text", "text": .string(text)])]),
    ]
  }

  mutating func closeReasoning() -> [ResponsesEvent] {
    var events = closePart()
    guard case .reasoning(let id, let parts, _)? = open else { return events }
    let item = Self.reasoningItem(id, "completed", parts)
    events.append(event("response.output_item.done", [("output_index", index), ("item", item)]))
    output.append(item)
    open = nil
    return events
  }

  // MARK: Function calls

  /// A call of the client's function, which is known as a whole.
  mutating func functionCall(_ call: ClientCall) -> [ResponsesEvent] {
    let id = ListedConversation.itemID(of: call.id)
    func item(_ status: String, _ arguments: String) -> JSONValue {
      [
        "type": "function_call", "id": .string(id), "call_id": .string(call.id.name("call")),
        "name": .string(call.name), "arguments": .string(arguments), "status": .string(status),
      ]
    }
    let arguments = call.arguments.text
    let whole = item("completed", arguments)
    let place: [(String, JSONValue)] = [("item_id", .string(id)), ("output_index", index)]
    let events = [
      event("response.output_item.added", [("output_index", index), ("item", item("in_progress", ""))]),
      event("response.function_call_arguments.delta", place + [("delta", .string(arguments))]),
      event("response.function_call_arguments.done", place + [("arguments", .string(arguments))]),
      event("response.output_item.done", [("output_index", index), ("item", whole)]),
    ]
    output.append(whole)
    return events
  }

  // MARK: Whole items

  /// An item that is known as a whole.
  mutating func item(_ item: JSONValue) -> [ResponsesEvent] {
    var begun = item.object ?? JSONObject()
    if begun["status"] != nil { begun["status"] = "in_progress" }
    let events = [
      event("response.output_item.added", [("output_index", index), ("item", .object(begun))]),
      event("response.output_item.done", [("output_index", index), ("item", item)]),
    ]
    output.append(item)
    return events
  }
}
