import SessionModel

/// An utterance as OpenAI's `/v1/responses` says it, as far as harnesses read it.
struct ResponsesAnswer {
  private let request: ModelRequest
  private let number: Int
  private var written = WrittenAnswer()
  private var sequence = 0
  private var output: [JSONValue] = []
  private var hang: Duration

  /// - Parameter number: new for each call; ids are made of it.
  static func write(_ utterance: Utterance, _ request: ModelRequest, number: Int) -> WrittenAnswer {
    var answer = ResponsesAnswer(request: request, number: number, hang: utterance.hang ?? .zero)
    return answer.write(utterance)
  }

  private init(request: ModelRequest, number: Int, hang: Duration) {
    self.request = request
    self.number = number
    self.hang = hang
  }

  private mutating func write(_ utterance: Utterance) -> WrittenAnswer {
    add("response.created", ["response": response("in_progress")])
    for (place, part) in utterance.parts.enumerated() { add(part, id: "\(number)_\(place)", utterance) }
    if let failure = utterance.failure {
      let error: JSONValue = ["code": .string(failure.code), "message": .string(failure.message)]
      written.body = response("failed", usage: utterance.usage, error: error)
      add("response.failed", ["response": written.body])
    } else {
      written.body = response("completed", usage: utterance.usage)
      add("response.completed", ["response": written.body])
    }
    if utterance.drops, written.cutAfter == nil { written.cutAfter = 1 }
    return written
  }

  private func response(_ status: String, usage: Usage? = nil, error: JSONValue = .null) -> JSONValue {
    [
      "id": .string("resp_\(number)"), "object": "response", "created_at": 0, "status": .string(status),
      "model": .string(request.model), "error": error, "output": .array(output),
      "usage": usage.map { usage in
        [
          "input_tokens": JSONValue(usage.input),
          "input_tokens_details": [
            "cached_tokens": JSONValue(usage.cachedInput), "cache_write_tokens": JSONValue(usage.cacheWrite),
          ],
          "output_tokens": JSONValue(usage.output),
          "output_tokens_details": ["reasoning_tokens": JSONValue(usage.reasoning)],
          "total_tokens": JSONValue(usage.total),
        ]
      } ?? .null,
    ]
  }

  private mutating func event(_ type: String, _ members: JSONValue) -> JSONValue {
    var object = JSONObject()
    object.append("type", .string(type))
    object.append("sequence_number", JSONValue(sequence))
    sequence += 1
    for member in (members.object ?? JSONObject()).members { object.append(member.key, member.value) }
    return .object(object)
  }

  private mutating func add(_ type: String, _ members: JSONValue) {
    // The silence of a scripted hang goes before the first thing that is said.
    let pause = type == "response.created" ? .zero : hang
    if type != "response.created" { hang = .zero }
    written.add(event(type, members), pause: pause)
  }

  private mutating func add(_ part: Utterance.Part, id: String, _ utterance: Utterance) {
    let index = JSONValue(output.count)
    let item: JSONValue
    switch part {
    case .reasoning(let text): item = reasoning(text, "rs_\(id)", index, utterance)
    case .text(let text, let phase): item = message(text, phase, "msg_\(id)", index, utterance)
    case .call(let name, let arguments):
      item = [
        "type": "function_call", "id": .string("fc_\(id)"), "call_id": .string("call_\(id)"), "name": .string(name),
        "arguments": .string(arguments.text), "status": "completed",
      ]
      add("response.output_item.added", ["output_index": index, "item": item])
    case .textCall(let name, let input):
      item = [
        "type": "custom_tool_call", "id": .string("ctc_\(id)"), "call_id": .string("call_\(id)"),
        "name": .string(name), "input": .string(input), "status": "completed",
      ]
      add("response.output_item.added", ["output_index": index, "item": item])
    }
    add("response.output_item.done", ["output_index": index, "item": item])
    output.append(item)
  }

  private mutating func reasoning(
    _ text: String, _ id: String, _ index: JSONValue, _ utterance: Utterance
  ) -> JSONValue {
    func item(_ summary: [JSONValue]) -> JSONValue {
      ["type": "reasoning", "id": .string(id), "summary": .array(summary)]
    }
    func place(_ key: String, _ value: JSONValue) -> JSONValue {
      .object(
        JSONObject([("item_id", .string(id)), ("output_index", index), ("summary_index", 0), (key, value)]))
    }
    let part: JSONValue = ["type": "summary_text", "text": .string(text)]
    add("response.output_item.added", ["output_index": index, "item": item([])])
    add("response.reasoning_summary_part.added", place("part", ["type": "summary_text", "text": ""]))
    for piece in Script.pieces(text, utterance.chunks) {
      add("response.reasoning_summary_text.delta", place("delta", .string(piece)))
    }
    add("response.reasoning_summary_text.done", place("text", .string(text)))
    add("response.reasoning_summary_part.done", place("part", part))
    return item([part])
  }

  private mutating func message(
    _ text: String, _ phase: String?, _ id: String, _ index: JSONValue, _ utterance: Utterance
  ) -> JSONValue {
    func part(_ text: String) -> JSONValue { ["type": "output_text", "text": .string(text), "annotations": []] }
    func item(_ status: JSONValue, _ content: [JSONValue]) -> JSONValue {
      var object = JSONObject([
        ("type", "message"), ("id", .string(id)), ("role", "assistant"), ("status", status),
        ("content", .array(content)),
      ])
      if let phase { object.append("phase", .string(phase)) }
      return .object(object)
    }
    func place(_ key: String, _ value: JSONValue) -> JSONValue {
      .object(
        JSONObject([("item_id", .string(id)), ("output_index", index), ("content_index", 0), (key, value)]))
    }
    add("response.output_item.added", ["output_index": index, "item": item("in_progress", [])])
    add("response.content_part.added", place("part", part("")))
    var answer = self
    written.add(pieces: text, of: utterance) { answer.event("response.output_text.delta", place("delta", .string($0))) }
    sequence = answer.sequence
    add("response.output_text.done", place("text", .string(text)))
    add("response.content_part.done", place("part", part(text)))
    return item("completed", [part(text)])
  }
}
