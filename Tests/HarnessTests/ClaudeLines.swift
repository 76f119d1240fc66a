import Harness
import SessionModel
import Testing

/// Lines as Claude Code prints them, for what no recording holds.
enum ClaudeLines {
  static func line(_ json: JSONValue) -> HarnessLine { HarnessLine(offset: 0, bytes: json.serialized) }

  static func event(_ event: JSONValue) -> HarnessLine {
    line(["type": "stream_event", "event": event, "parent_tool_use_id": .null])
  }

  static func messageStart(_ id: String, input: Int = 10) -> HarnessLine {
    event(["type": "message_start", "message": ["id": .string(id), "usage": ["input_tokens": JSONValue(input)]]])
  }

  static func blockStart(_ index: Int, _ type: String) -> HarnessLine {
    event(["type": "content_block_start", "index": JSONValue(index), "content_block": ["type": .string(type)]])
  }

  static func textDelta(_ text: String) -> HarnessLine {
    event(["type": "content_block_delta", "delta": ["type": "text_delta", "text": .string(text)]])
  }

  static func messageDelta(_ stopReason: String) -> HarnessLine {
    event([
      "type": "message_delta", "delta": ["stop_reason": .string(stopReason)], "usage": ["output_tokens": 5],
    ])
  }

  static let messageStop = event(["type": "message_stop"])

  static func assistant(_ id: String, _ block: JSONValue, parent: JSONValue = .null) -> HarnessLine {
    line([
      "type": "assistant", "parent_tool_use_id": parent,
      "message": ["id": .string(id), "model": "m", "content": [block], "usage": ["input_tokens": 3]],
    ])
  }

  static func text(_ text: String) -> JSONValue { ["type": "text", "text": .string(text)] }

  static func toolUse(_ id: String, _ name: String, _ input: JSONValue) -> JSONValue {
    ["type": "tool_use", "id": .string(id), "name": .string(name), "input": input]
  }

  static func toolResult(
    _ id: String, _ content: JSONValue, isError: Bool = false, detail: JSONValue = .null, parent: JSONValue = .null
  ) -> HarnessLine {
    line([
      "type": "user", "parent_tool_use_id": parent, "tool_use_result": detail,
      "message": [
        "role": "user",
        "content": [
          ["type": "tool_result", "tool_use_id": .string(id), "content": content, "is_error": .bool(isError)]
        ],
      ],
    ])
  }

  static func lifecycle(_ uuid: String, _ state: String) -> HarnessLine {
    line(["type": "command_lifecycle", "command_uuid": .string(uuid), "state": .string(state)])
  }

  static let completed = line([
    "type": "result", "subtype": "success", "is_error": false, "terminal_reason": "completed", "result": "done",
  ])

  static let noConversation = line([
    "type": "result", "subtype": "error_during_execution", "is_error": true,
    "errors": ["No conversation found with session ID: x"],
  ])
}

/// A machine of Claude Code's that a test drives step by step.
struct ClaudeDriver {
  var machine: any HarnessMachine
  /// What the machine wanted at its launch.
  let launched: [HarnessAction]

  init(_ context: HarnessContext) {
    machine = ClaudeCode().machine(context)
    launched = machine.launched()
  }

  /// A machine that takes turns.
  static func ready(_ context: HarnessContext = .test("/bin/claude")) throws -> ClaudeDriver {
    var driver = ClaudeDriver(context)
    #expect(try driver.initialized().contains(.ready))
    return driver
  }

  /// A machine whose first turn the harness has taken up.
  static func running(_ context: HarnessContext = .test("/bin/claude")) throws -> ClaudeDriver {
    var driver = try ready(context)
    let uuid = try #require(driver.begin("e1").sent.last?["uuid"]?.string)
    driver.read(ClaudeLines.lifecycle(uuid, "started"))
    return driver
  }

  /// The harness answers the handshake.
  mutating func initialized() throws -> [HarnessAction] {
    let id = try #require(launched.sent.first?["request_id"])
    return read(
      ClaudeLines.line([
        "type": "control_response", "response": ["subtype": "success", "request_id": id, "response": [:]],
      ]))
  }

  mutating func begin(
    _ execution: String, _ parts: [Message.Part] = [.text("go")], model: String = "m",
    options: TurnOptions = TurnOptions()
  ) -> [HarnessAction] {
    machine.begin(
      HarnessTurn(
        execution: ExecutionID(rawValue: execution), input: [Message(parts: parts)], model: model, options: options))
  }

  @discardableResult
  mutating func read(_ lines: HarnessLine...) -> [HarnessAction] { lines.flatMap { machine.read($0) } }
}
