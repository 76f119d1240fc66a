import Harness
import SessionModel
import Testing

/// How a process is started and comes to its conversation, and what it is given with a turn.
struct ClaudeLaunchTests {
  private static let history = [
    Message(parts: [.text("My name is Ada.")]), Message(role: .assistant, parts: [.text("Noted.")]),
  ]

  private static func launch(_ context: HarnessContext) throws -> HarnessLaunch { try ClaudeCode().launch(context) }

  private static func option(_ name: String, _ launch: HarnessLaunch) -> String? {
    launch.command.firstIndex(of: name).flatMap { $0 + 1 < launch.command.count ? launch.command[$0 + 1] : nil }
  }

  /// The state that a process leaves behind.
  private static func state(_ actions: [HarnessAction]) -> JSONValue? {
    actions.lazy.compactMap { if case .saveState(let state) = $0 { state } else { nil } }.first
  }

  @Test("nothing of the repository runs at start, nobody is asked, and no key is in reach")
  func launch() throws {
    let launch = try Self.launch(.test("/bin/claude", instructions: "be brief"))
    #expect(launch.command.first == "/bin/claude")
    #expect(Self.option("--setting-sources", launch) == "" && launch.command.contains("--strict-mcp-config"))
    #expect(Self.option("--permission-mode", launch) == "bypassPermissions")
    #expect(launch.environment["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:1")
    #expect(launch.environment["ANTHROPIC_AUTH_TOKEN"] == "placeholder")
    #expect(launch.environment["CLAUDE_CONFIG_DIR"] == "/h" && launch.environment["IS_SANDBOX"] == "1")
    #expect(launch.environment["CLAUDE_MODEL"] == "m" && launch.environment["CENTAUR_MODEL"] == "m")
    #expect(launch.environment["CENTAUR_EXTRA_SYSTEM_PROMPT"] == "be brief")
    #expect(Self.option("--append-system-prompt-file", launch) == "/h/instructions.md")
    #expect(launch.files["instructions.md"] == Array("be brief".utf8))
  }

  @Test("instructions that are too long for a variable still reach the model")
  func longInstructions() throws {
    let long = String(repeating: "x", count: 200_000)
    let launch = try Self.launch(.test("/bin/claude", instructions: long))
    #expect(launch.files["instructions.md"]?.count == 200_000)
    #expect(launch.environment.values.allSatisfy { $0.utf8.count < 128 << 10 })
  }

  @Test("a session's conversation has the session's id, and is resumed by it")
  func conversation() throws {
    var context = HarnessContext.test("/bin/claude")
    context = HarnessContext(
      session: SessionID(rawValue: "0199aa3344556677f8899aabbccddeef"), executable: "/bin/claude",
      workspace: context.workspace, home: context.home, temporary: context.temporary,
      modelBaseURL: context.modelBaseURL, model: "m", models: ["m"])
    let id = "0199aa33-4455-8677-8899-aabbccddeef"
    #expect(Self.option("--session-id", try Self.launch(context))?.hasPrefix("0199aa33-4455-8677-") == true)
    var driver = ClaudeDriver(context)
    let actions = try driver.initialized()
    context.state = Self.state(actions)
    let resumed = try Self.launch(context)
    #expect(resumed.command.contains { $0.hasPrefix("--resume=\(id.prefix(18))") })
    #expect(!resumed.command.contains("--session-id"))
    #expect(ClaudeCode().hasConversation(context.state, tools: []) && !ClaudeCode().hasConversation(nil, tools: []))
  }

  @Test("a conversation that is gone begins anew under another id, with the history and a warning")
  func resumeRefused() throws {
    var context = HarnessContext.test("/bin/claude", state: ["session": "11111111-1111-8111-8111-111111111111"])
    var driver = ClaudeDriver(context)
    let refused = driver.read(ClaudeLines.noConversation)
    #expect(refused.warnings == ["conversation_restarted"] && refused.last == .stop && !refused.contains(.ready))
    #expect(driver.read(ClaudeLines.noConversation).isEmpty)
    #expect(!driver.machine.exited(HarnessExit(status: 0)).contains { if case .saveState = $0 { true } else { false } })
    context.state = Self.state(refused)
    #expect(!ClaudeCode().hasConversation(context.state, tools: []))
    context.history = Self.history
    let next = try Self.launch(context)
    #expect(next.command.contains { $0.hasPrefix("--resume=") } && next.files.count == 1)
    #expect(!next.command.joined().contains("11111111-1111-8111-8111-111111111111"))
  }

  @Test("what was said before is there as a transcript that the harness resumes")
  func seeded() throws {
    let launch = try Self.launch(.test("/bin/claude", history: Self.history))
    let resume = try #require(launch.command.first { $0.hasPrefix("--resume=") })
    let file = try #require(launch.files["projects/-w/\(resume.dropFirst("--resume=".count)).jsonl"])
    let lines = try String(decoding: file, as: UTF8.self).split(separator: "\n").map {
      try JSONValue(parsing: String($0))
    }
    #expect(lines.map { $0["type"]?.string } == ["user", "assistant"])
    #expect(lines[1]["parentUuid"] == lines[0]["uuid"] && lines[0]["parentUuid"] == .null)
    #expect(lines[0].text.contains("My name is Ada.") && lines[1].text.contains("Noted."))
    var driver = try ClaudeDriver.ready(.test("/bin/claude", history: Self.history))
    #expect(driver.begin("e1").sent.last?.text.contains("Ada") == false)
  }

  @Test("where the harness does not find that transcript, the first turn tells what was said, and only it")
  func toldInWords() throws {
    var context = HarnessContext.test("/bin/claude", history: Self.history)
    var driver = ClaudeDriver(context)
    let refused = driver.read(ClaudeLines.noConversation)
    #expect(refused.warnings.isEmpty)
    context.state = Self.state(refused)
    let launch = try Self.launch(context)
    #expect(launch.command.contains("--session-id") && launch.files.isEmpty)
    driver = try ClaudeDriver.ready(context)
    let first = try #require(driver.begin("e1").sent.last)
    #expect(first.text.contains("<conversation_so_far>") && first.text.contains("assistant: Noted."))
    // It was interrupted before the harness took it up: the next turn tells it again.
    _ = driver.machine.interrupt(reason: "user")
    driver.read(ClaudeLines.lifecycle(try #require(first["uuid"]?.string), "cancelled"))
    let second = try #require(driver.begin("e2").sent.last)
    #expect(second.text.contains("<conversation_so_far>"))
    driver.read(ClaudeLines.lifecycle(try #require(second["uuid"]?.string), "started"), ClaudeLines.completed)
    #expect(driver.begin("e3").sent.last?.text.contains("<conversation_so_far>") == false)
  }

  @Test("a new conversation that does not come up is tried under another id; one that was begun is kept")
  func startFailed() throws {
    let context = HarnessContext.test("/bin/claude")
    var driver = ClaudeDriver(context)
    let state = try #require(Self.state(driver.machine.exited(HarnessExit(status: 1))))
    #expect(!ClaudeCode().hasConversation(state, tools: []))
    var next = context
    next.state = state
    #expect(Self.option("--session-id", try Self.launch(next)) != Self.option("--session-id", try Self.launch(context)))
    driver = ClaudeDriver(.test("/bin/claude", state: ["session": "x"]))
    #expect(Self.state(driver.machine.exited(HarnessExit(status: 1))) == nil)
  }

  @Test("a conversation that the harness moves elsewhere is followed")
  func moved() throws {
    var driver = try ClaudeDriver.running()
    let line = ClaudeLines.line(["type": "system", "subtype": "init", "session_id": "elsewhere"])
    #expect(driver.read(line) == [.saveState(["session": "elsewhere"])])
    #expect(driver.read(line).isEmpty)
  }

  @Test("a turn's texts, pictures and files reach the model as what they are")
  func input() throws {
    var driver = try ClaudeDriver.ready()
    let actions = driver.begin(
      "e1",
      [
        .text("one"), .text("two"), .image(dataURL: "data:image/png;base64,AAAA"),
        .file(name: "a.pdf", dataURL: "data:application/pdf;base64,AAAA"),
        .file(name: "a.txt", dataURL: "data:text/plain;base64,aGk="),
      ])
    let blocks = try #require(actions.sent.last?["message"]?["content"]?.array)
    #expect(blocks[0] == ["type": "text", "text": "one\n\ntwo"])
    #expect(blocks[1]["source"] == ["type": "base64", "media_type": "image/png", "data": "AAAA"])
    #expect(blocks[2]["type"]?.string == "document" && blocks[2]["title"]?.string == "a.pdf")
    #expect(blocks[3]["source"] == ["type": "text", "media_type": "text/plain", "data": "hi"])
    #expect(actions.warnings.isEmpty)
  }

  @Test("what cannot be given to the model is said to it and to the user")
  func unsupportedInput() throws {
    var driver = try ClaudeDriver.ready()
    let actions = driver.begin(
      "e1",
      [.image(dataURL: "data:image/svg+xml;base64,AAAA"), .file(name: "a.bin", dataURL: "data:;base64,AAAA")])
    #expect(actions.warnings == ["input_not_supported", "input_not_supported"])
    #expect(actions.sent.last?.text.contains("a.bin") == true)
  }

  @Test("a text that looks like a command of the harness's is the user's all the same")
  func slash() throws {
    var driver = try ClaudeDriver.ready()
    #expect(
      driver.begin("e1", [.text("/clear")]).sent.last?["message"]?["content"]?[0]?["text"]?.string == " /clear")
  }

  @Test("model and effort are set where a turn asks for another one, and set back")
  func settings() throws {
    var driver = try ClaudeDriver.ready()
    #expect(driver.begin("e1").sent.count == 1)
    driver = try ClaudeDriver.ready()
    let first = driver.begin("e1", model: "n", options: TurnOptions(effort: "minimal")).sent
    #expect(first.map { $0["request"]?["subtype"]?.string } == ["set_model", "apply_flag_settings", nil])
    #expect(first[0]["request"]?["model"]?.string == "n")
    #expect(first[1]["request"]?["settings"] == ["effortLevel": "low"])
    let refused = driver.read(
      ClaudeLines.line([
        "type": "control_response",
        "response": ["subtype": "error", "request_id": first[0]["request_id"] ?? .null, "error": "no"],
      ]))
    #expect(refused.warnings == ["model_not_available"])
    driver.read(
      ClaudeLines.lifecycle(try #require(first[2]["uuid"]?.string), "started"), ClaudeLines.completed)
    let second = driver.begin("e2", options: TurnOptions(effort: "frantic"))
    #expect(second.warnings == ["effort_not_supported"])
    #expect(second.sent.map { $0["request"]?["subtype"]?.string } == ["set_model", "apply_flag_settings", nil])
    #expect(second.sent[1]["request"]?["settings"] == ["effortLevel": .null])
  }

  @Test("a schema that no tool can have is told to the model before the user's words")
  func schema() throws {
    var driver = try ClaudeDriver.ready()
    let options = TurnOptions(outputSchema: ["type": "array"])
    let blocks = driver.begin("e1", options: options).sent.last?["message"]?["content"]?.array ?? []
    #expect(blocks.count == 2 && blocks[0].text.contains("{\\\"type\\\":\\\"array\\\"}"))
  }

  @Test("a schema for the answer is the process's own: its tool is no work, and what it was given is the answer")
  func structuredOutput() throws {
    var context = HarnessContext.test("/bin/claude")
    let wishes = TurnWishes(model: "m", options: TurnOptions(outputSchema: ["type": "object"]))
    context.turn = wishes
    var driver = ClaudeDriver(context)
    #expect(driver.launched.sent.first?["request"]?["jsonSchema"] == ["type": "object"])
    _ = try driver.initialized()
    let user = driver.begin("e1", options: wishes.options).sent.last
    #expect(user?["message"]?["content"]?.array?.count == 1)
    driver.read(ClaudeLines.lifecycle(try #require(user?["uuid"]?.string), "started"))
    let call: JSONValue = ["type": "tool_use", "id": "t1", "name": "StructuredOutput", "input": ["n": 3]]
    let message: JSONValue = ["type": "assistant", "message": ["id": "m1", "content": [call]]]
    #expect(!driver.read(ClaudeLines.line(message)).drafts.contains { $0.payload.kind.hasPrefix("item") })
    let over: JSONValue = [
      "type": "result", "subtype": "success", "is_error": false, "terminal_reason": "completed",
      "structured_output": ["n": 3],
    ]
    let answer = MessageItem(phase: .final, text: "{\"n\":3}")
    #expect(driver.read(ClaudeLines.line(over)).closed.map(\.content) == [.message(answer)])
  }

  @Test("a process that holds its model to one schema runs no turn that asks for another")
  func serves() {
    func wishes(_ schema: JSONValue?) -> TurnWishes {
      TurnWishes(model: "m", options: TurnOptions(outputSchema: schema))
    }
    var context = HarnessContext.test("/bin/claude")
    #expect(ClaudeCode().machine(context).serves(wishes(nil)))
    #expect(ClaudeCode().machine(context).serves(wishes(["type": "array"])), "told in words")
    #expect(!ClaudeCode().machine(context).serves(wishes(["type": "object"])))
    context.turn = wishes(["type": "object"])
    #expect(ClaudeCode().machine(context).serves(wishes(["type": "object"])))
    #expect(!ClaudeCode().machine(context).serves(wishes(nil)))
  }
}
