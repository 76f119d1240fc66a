import SessionModel

/// What a script needs to know of a model call, whichever of the two APIs it came by.
struct ModelRequest: Sendable {
  var model = "stand-in"
  var streams = false
  /// The newest text of the user; the script is in it.
  var text = ""
  /// How many times the model has spoken since that text.
  var step = 0
  /// The newest tool output.
  var output = ""
  /// What came of the same command before that, while it ran.
  var earlierOutputs: [String] = []
  /// The number under which Codex keeps the newest command, where that still runs and is to be waited for.
  var runningCommand: Int?
  /// All texts of the user, oldest first.
  var userTexts: [String] = []
  var instructions: [String] = []
  var tools: Set<String> = []
  /// Tells conversations apart.
  var conversation = ""
  var isMessages = false
  /// Of the request, as a model would count it.
  var inputTokens = 0

  /// What a CLI puts into the conversation by itself, in the user's role, and what our harness adapters add to a turn.
  private static let context = [
    "<environment_context>", "# AGENTS.md instructions", "<user_shell_command>", "<turn_aborted>", "<skill",
    "<permissions instructions>", "<model_switch>", "<subagent_notification>", "<system-reminder>",
    "<user_instructions>", "[Request interrupted by user", "[Your previous response had no visible output",
    "[Image: source: ", "<conversation_so_far>", "<answer_format>",
  ]

  /// Our harness adapters tell instructions so that hold from here on.
  private static let newInstructions = "<new_instructions>"

  private static func newInstructions(in content: JSONValue?) -> [String] {
    (content?.array ?? []).compactMap { $0["text"]?.string }.filter { $0.hasPrefix(newInstructions) }
  }

  private static func isContext(_ text: String) -> Bool { context.contains { text.hasPrefix($0) } }

  private mutating func heard(_ text: String) {
    // Claude Code wants the answer again, by its tool: what was said is said once more.
    if text.hasPrefix("[structured-output-enforce]") { return step = max(0, step - 1) }
    if text.hasPrefix(Self.newInstructions) { return instructions.append(text) }
    guard !text.isEmpty, !Self.isContext(text) else { return }
    userTexts.append(text)
    self.text = text
    step = 0
    output = ""
    earlierOutputs = []
    runningCommand = nil
  }

  /// `POST /v1/responses`.
  init(responses body: JSONValue, bytes: Int) {
    model = body["model"]?.string ?? model
    streams = body["stream"]?.bool ?? false
    conversation = body["prompt_cache_key"]?.string ?? ""
    inputTokens = bytes / 4
    if let text = body["instructions"]?.string { instructions.append(text) }
    tools = Set((body["tools"]?.array ?? []).compactMap { $0["name"]?.string })
    if let text = body["input"]?.string { heard(text) }
    var modelSpeaks = false
    var isAwaited = false
    for item in body["input"]?.array ?? [] {
      let type = item["type"]?.string ?? "message"
      let role = item["role"]?.string
      let isOfModel =
        type == "message" ? role == "assistant" : ["reasoning", "function_call", "custom_tool_call"].contains(type)
      let isPoll = type == "function_call" && item["name"]?.string == Self.poll
      if type == "function_call", !isPoll {
        earlierOutputs = []
        // A script that says how long it waits does not wait for more.
        isAwaited = item["arguments"]?.string?.contains(Self.patience) == false
      }
      // Still the same step.
      guard !isPoll else { continue }
      if isOfModel, !modelSpeaks { step += 1 }
      modelSpeaks = isOfModel
      switch (type, role) {
      case ("message", "user"?):
        instructions += Self.newInstructions(in: item["content"])
        heard(Self.text(item["content"]))
      case ("message", "developer"?), ("message", "system"?): instructions.append(Self.text(item["content"]))
      case ("function_call_output", _), ("custom_tool_call_output", _):
        if runningCommand != nil { earlierOutputs.append(output) }
        instructions += Self.newInstructions(in: item["output"])
        output = Self.text(item["output"])
        runningCommand = isAwaited && tools.contains(Self.poll) ? Self.running(output) : nil
      default: break
      }
    }
  }

  /// Codex's tool that waits for a command's further output, and the argument that says how long a call waits.
  static let poll = "write_stdin"
  static let patience = "yield_time_ms"

  /// From the head that Codex 0.163.0 puts before a command's output.
  private static func running(_ output: String) -> Int? {
    let head = output.firstRange(of: "Output:\n").map { output[..<$0.lowerBound] } ?? output[...]
    guard let mark = head.firstRange(of: "Process running with session ID ") else { return nil }
    return Int(head[mark.upperBound...].prefix(while: \.isNumber))
  }

  /// `POST /v1/messages`.
  init(messages body: JSONValue, bytes: Int) {
    isMessages = true
    model = body["model"]?.string ?? model
    streams = body["stream"]?.bool ?? false
    conversation = body["metadata"]?["user_id"]?.string ?? ""
    inputTokens = bytes / 4
    let system = Self.text(body["system"])
    if !system.isEmpty { instructions.append(system) }
    tools = Set((body["tools"]?.array ?? []).compactMap { $0["name"]?.string })
    for message in body["messages"]?.array ?? [] {
      switch message["role"]?.string {
      case "assistant": step += 1
      case "system": instructions.append(Self.text(message["content"]))
      default:
        let content = message["content"] ?? .null
        for block in content.array ?? [] where block["type"]?.string == "tool_result" {
          instructions += Self.newInstructions(in: block["content"])
          output = Self.text(block["content"])
        }
        // Each text is one message: Claude Code joins the messages of turns that had no answer into one.
        let texts = content.array?.filter { $0["type"]?.string == "text" }.compactMap { $0["text"]?.string }
        for text in texts ?? [content.string ?? ""] { heard(text) }
      }
    }
  }

  /// A tool as the request has it: a harness offers tools of others under a name of its own
  /// (`mcp__SERVER__NAME`).
  func offeredName(of name: String) -> String {
    if tools.contains(name) { return name }
    return tools.sorted().first { $0.hasPrefix("mcp__") && $0.hasSuffix("__\(name)") } ?? name
  }

  /// A string, or the text parts of a list.
  private static func text(_ content: JSONValue?) -> String {
    switch content {
    case .string(let text)?: text
    case .array(let parts)?:
      parts.compactMap { $0["text"]?.string }
        .filter { text in
          !["<image name=", "</image>", "<answer_format>", newInstructions].contains { text.hasPrefix($0) }
        }
        .joined(separator: "\n")
    default: ""
    }
  }
}
