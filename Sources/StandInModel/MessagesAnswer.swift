import SessionModel

/// An utterance as Anthropic's `/v1/messages` says it, as far as harnesses read it.
struct MessagesAnswer {
  private let request: ModelRequest
  private let number: Int
  private let utterance: Utterance
  private var written = WrittenAnswer()
  private var content: [JSONValue] = []
  private var hang: Duration

  /// - Parameter number: new for each call; ids are made of it.
  static func write(_ utterance: Utterance, _ request: ModelRequest, number: Int) -> WrittenAnswer {
    var answer = MessagesAnswer(utterance, request, number: number)
    return answer.write()
  }

  private init(_ utterance: Utterance, _ request: ModelRequest, number: Int) {
    self.utterance = utterance
    self.request = request
    self.number = number
    hang = utterance.hang ?? .zero
  }

  private mutating func write() -> WrittenAnswer {
    written.add(["type": "message_start", "message": message(stop: .null, output: 1)])
    for (place, part) in utterance.parts.enumerated() { add(part, JSONValue(place)) }
    let stop: JSONValue = content.contains { $0["type"]?.string == "tool_use" } ? "tool_use" : "end_turn"
    if let failure = utterance.failure {
      let error: JSONValue = ["type": .string(failure.code), "message": .string(failure.message)]
      written.body = ["type": "error", "error": error]
      written.status = failure.code == "overloaded_error" ? 529 : 500
      written.add(written.body, pause: hang)
    } else {
      written.body = message(stop: stop, output: utterance.usage.output)
      written.add(
        [
          "type": "message_delta", "delta": ["stop_reason": stop, "stop_sequence": .null],
          "usage": ["output_tokens": JSONValue(utterance.usage.output)],
        ], pause: hang)
      written.add(["type": "message_stop"])
    }
    if utterance.drops, written.cutAfter == nil { written.cutAfter = 1 }
    return written
  }

  private func message(stop: JSONValue, output: Int) -> JSONValue {
    [
      "id": .string("msg_\(number)"), "type": "message", "role": "assistant", "model": .string(request.model),
      "content": .array(content), "stop_reason": stop, "stop_sequence": .null,
      "usage": [
        "input_tokens": JSONValue(
          max(0, utterance.usage.input - utterance.usage.cachedInput - utterance.usage.cacheWrite)),
        "cache_creation_input_tokens": JSONValue(utterance.usage.cacheWrite),
        "cache_read_input_tokens": JSONValue(utterance.usage.cachedInput),
        "output_tokens": JSONValue(output),
      ],
    ]
  }

  private mutating func start(_ block: JSONValue, _ index: JSONValue) {
    written.add(["type": "content_block_start", "index": index, "content_block": block], pause: hang)
    hang = .zero
  }

  private static func delta(_ delta: JSONValue, _ index: JSONValue) -> JSONValue {
    ["type": "content_block_delta", "index": index, "delta": delta]
  }

  private mutating func add(_ part: Utterance.Part, _ index: JSONValue) {
    switch part {
    case .reasoning(let text):
      start(["type": "thinking", "thinking": "", "signature": ""], index)
      for piece in Script.pieces(text, utterance.chunks) {
        written.add(Self.delta(["type": "thinking_delta", "thinking": .string(piece)], index))
      }
      written.add(Self.delta(["type": "signature_delta", "signature": "c2NyaXB0ZWQ="], index))
      content.append(["type": "thinking", "thinking": .string(text), "signature": "c2NyaXB0ZWQ="])
    case .text(let text, _):
      start(["type": "text", "text": ""], index)
      written.add(pieces: text, of: utterance) { Self.delta(["type": "text_delta", "text": .string($0)], index) }
      content.append(["type": "text", "text": .string(text)])
    case .call(let name, let arguments): toolUse(name, arguments, index)
    case .textCall(let name, let input): toolUse(name, ["input": .string(input)], index)
    }
    written.add(["type": "content_block_stop", "index": index])
  }

  private mutating func toolUse(_ name: String, _ arguments: JSONValue, _ index: JSONValue) {
    let id = JSONValue.string("toolu_\(number)_\(content.count)")
    start(["type": "tool_use", "id": id, "name": .string(name), "input": .object(JSONObject())], index)
    written.add(Self.delta(["type": "input_json_delta", "partial_json": .string(arguments.text)], index))
    content.append(["type": "tool_use", "id": id, "name": .string(name), "input": arguments])
  }
}
