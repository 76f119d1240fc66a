import Harness
import SessionModel
import Testing

/// Calls of the client's tools, as each harness asks for them.
struct ClientToolTests {
  private static let weather = ClientTool(
    name: "weather", description: "d", parameters: ["type": "object", "properties": ["city": ["type": "string"]]])
  private static let execution = ExecutionID(rawValue: "e1")

  private static func options(_ tools: [ClientTool] = [weather]) -> TurnOptions {
    var options = TurnOptions()
    options.tools = tools
    return options
  }

  private static func output(_ ordinal: Int, _ parts: [Message.Part] = [.text("sunny")], isError: Bool = false)
    -> ToolOutput
  { ToolOutput(call: ClientCallID(execution, ordinal), parts: parts, isError: isError) }

  private static func serves(_ machine: any HarnessMachine, _ tools: [ClientTool]) -> Bool {
    machine.serves(TurnWishes(model: "m", options: options(tools)))
  }

  private static func waits(_ actions: [HarnessAction]) -> [[ClientCall]] {
    actions.compactMap { action in
      guard case .emit(let draft) = action, case .executionWaiting(let calls, _) = draft.payload else { return nil }
      // Whoever reads the line again must know that the log has it.
      return draft.source == nil ? nil : calls
    }
  }

  private static func frames(_ actions: [HarnessAction]) -> [String] {
    actions.compactMap { if case .send(let id, _) = $0 { id } else { nil } }
  }

  // MARK: Codex

  private static func codexLine(_ json: JSONValue) -> HarnessLine { HarnessLine(offset: 0, bytes: json.serialized) }

  private static func codex(
    _ tools: [ClientTool] = [weather], refusing: String? = nil
  ) throws -> (machine: any HarnessMachine, ready: [HarnessAction], begun: [HarnessAction]) {
    var context = HarnessContext.test("/bin/codex")
    context.turn = TurnWishes(model: "m", options: options(tools))
    var machine = CodexAppServer().machine(context)
    _ = machine.launched()
    var start = machine.read(codexLine(["id": 1, "result": [:]])).sent.last
    #expect(start?["params"]?["dynamicTools"]?.array?.count == (tools.isEmpty ? nil : tools.count))
    if let refusing {
      let refused = machine.read(codexLine(["id": start?["id"] ?? .null, "error": ["message": .string(refusing)]]))
      start = refused.sent.last
      #expect(start?["method"] == "thread/start" && start?["params"]?["dynamicTools"] == nil)
    }
    let ready = machine.read(codexLine(["id": start?["id"] ?? .null, "result": ["thread": ["id": "T"]]]))
    #expect(ready.contains(.ready))
    let begun = machine.begin(
      HarnessTurn(
        execution: execution, input: [Message(parts: [.text("go")])], model: "m", options: options(tools)))
    _ = machine.read(
      codexLine(["id": begun.sent.last?["id"] ?? .null, "result": ["turn": ["id": "U"]]]))
    return (machine, ready, begun)
  }

  private static func codexAsks(_ number: Int, _ tool: String = "weather") -> [HarnessLine] {
    let item: JSONValue = [
      "type": "dynamicToolCall", "id": .string("c\(number)"), "tool": .string(tool), "arguments": ["city": "Bern"],
      "status": "inProgress",
    ]
    return [
      codexLine(["method": "item/started", "params": ["item": item, "turnId": "U"]]),
      codexLine([
        "method": "item/tool/call", "id": JSONValue(number),
        "params": [
          "turnId": "U", "callId": .string("c\(number)"), "tool": .string(tool), "arguments": ["city": "Bern"],
        ],
      ]),
    ]
  }

  @Test("Codex asks, the turn waits, and the answer goes to it once, also from a machine that was saved in between")
  func codexCall() throws {
    var machine = try Self.codex().machine
    let asked = Self.codexAsks(0).flatMap { machine.read($0) }
    let calls = Self.waits(asked)
    #expect(
      calls == [[ClientCall(id: ClientCallID(Self.execution, 1), name: "weather", arguments: ["city": "Bern"])]])
    #expect(Self.frames(asked).isEmpty)
    var restored = try CodexAppServer().machine(saved: try machine.saved)
    let image = "data:image/png;base64,AAAA"
    let answer = restored.answer(Self.output(1, [.text("sunny"), .image(dataURL: image)]))
    #expect(Self.frames(answer) == ["e1/tool/1"])
    #expect(answer.sent[0]["id"]?.int == 0 && answer.sent[0]["result"]?["success"] == true)
    let content = answer.sent[0]["result"]?["contentItems"]?.array
    #expect(content?.first?["text"] == "sunny" && content?.last?["imageUrl"]?.string == image)
    #expect(restored.answer(Self.output(1)).isEmpty && restored.answer(Self.output(7)).isEmpty)
    let failed = machine.answer(Self.output(1, isError: true))
    #expect(failed.sent[0]["result"]?["success"] == false)
  }

  @Test("a tool that the turn does not offer is refused, and a late answer to a turn that was interrupted is dropped")
  func codexRefuses() throws {
    var machine = try Self.codex().machine
    let asked = Self.codexAsks(3, "clock").flatMap { machine.read($0) }
    #expect(Self.waits(asked).isEmpty)
    #expect(asked.sent.last?["result"]?["success"] == false)
    _ = Self.codexAsks(4).flatMap { machine.read($0) }
    _ = machine.interrupt(reason: "test")
    _ = machine.timerFired(.init(name: "interrupt"))
    #expect(machine.answer(Self.output(2)).isEmpty)
  }

  @Test("tools that Codex does not take cost no turn: it works without them, and the log says so")
  func codexTakesNone() throws {
    let (machine, _, begun) = try Self.codex(refusing: "bad schema")
    let warnings = begun.compactMap { action -> String? in
      guard case .emit(let draft) = action, case .warning(let code, let text) = draft.payload else { return nil }
      return "\(code): \(text)"
    }
    #expect(warnings == ["tools_not_offered: The harness did not take the client's functions: bad schema"])
    // It is not tried again with each turn.
    #expect(Self.serves(machine, [Self.weather]))
  }

  @Test(
    "a thread whose tools Codex refused goes on in another process, and its user is told again that they are not there")
  func codexRemembersRefusal() throws {
    let state = try #require(Self.codex(refusing: "bad schema").ready.savedState)
    func resumes(_ tools: [ClientTool]) -> (machine: any HarnessMachine, asked: JSONValue?) {
      var context = HarnessContext.test("/bin/codex")
      context.turn = TurnWishes(model: "m", options: Self.options(tools))
      context.state = state
      var machine = CodexAppServer().machine(context)
      _ = machine.launched()
      let asked = machine.read(Self.codexLine(["id": 1, "result": [:]])).sent.last
      return (machine, asked)
    }
    var (machine, asked) = resumes([Self.weather])
    #expect(asked?["method"] == "thread/resume")
    #expect(CodexAppServer().hasConversation(state, tools: [Self.weather]))
    let ready = machine.read(Self.codexLine(["id": asked?["id"] ?? .null, "result": ["thread": ["id": "T"]]]))
    #expect(ready == [.ready], "the state stays what it was")
    let begun = machine.begin(
      HarnessTurn(
        execution: Self.execution, input: [Message(parts: [.text("go")])], model: "m", options: Self.options()))
    #expect(begun.warnings == ["tools_not_offered"])
    #expect(Self.serves(machine, [Self.weather]) && Self.serves(machine, []))
    // Others may be to its taste, and so may be some of them.
    let clock = ClientTool(name: "clock")
    #expect(!Self.serves(machine, [clock]) && !CodexAppServer().hasConversation(state, tools: [Self.weather, clock]))
    #expect(resumes([clock]).asked?["params"]?["dynamicTools"]?.array?.count == 1)
    let both = try #require(Self.codex([Self.weather, clock], refusing: "bad schema").ready.savedState)
    #expect(!CodexAppServer().hasConversation(both, tools: [clock]))
  }

  @Test("a thread goes on with the tools that it has; others need another one")
  func codexThreads() throws {
    let machine = try Self.codex().machine
    var changed = Self.weather
    changed.description = "other"
    #expect(Self.serves(machine, []) && Self.serves(machine, [Self.weather]))
    #expect(!Self.serves(machine, [changed]) && !Self.serves(machine, [Self.weather, ClientTool(name: "clock")]))
    let none = try Self.codex([]).machine
    #expect(Self.serves(none, []) && !Self.serves(none, [Self.weather]))
  }

  @Test(
    "tools that are called as Codex's own, or as it refuses, have another name there, and their own in the log",
    arguments: ["exec_command", "mcp__server__find", "mcp"])
  func codexNames(_ name: String) throws {
    var machine = try Self.codex([ClientTool(name: name)]).machine
    let asked = Self.codexAsks(0, "client_\(name)").flatMap { machine.read($0) }
    #expect(Self.waits(asked).first?.first?.name == name)
    let names = asked.compactMap { action -> String? in
      guard case .emit(let draft) = action, case .itemStarted(let item) = draft.payload,
        case .toolCall(let call) = item.content
      else { return nil }
      return call.name
    }
    #expect(names == [name])
  }

  // MARK: Claude Code

  private static func server(_ method: String, _ number: Int, _ parameters: JSONValue = [:]) -> HarnessLine {
    ClaudeLines.line([
      "type": "control_request", "request_id": .string("r\(number)"),
      "request": [
        "subtype": "mcp_message", "server_name": "cp",
        "message": [
          "jsonrpc": "2.0", "id": JSONValue(number), "method": .string(method), "params": parameters,
        ],
      ],
    ])
  }

  private static func toolCall(_ id: String, _ number: Int) -> HarnessLine {
    server(
      "tools/call", number,
      ["name": "weather", "arguments": ["city": "Bern"], "_meta": ["claudecode/toolUseId": .string(id)]])
  }

  /// A turn with the tool, which the harness has taken up.
  private static func claude() throws -> ClaudeDriver {
    var driver = try ClaudeDriver.ready()
    let begun = driver.begin("e1", options: options())
    #expect(begun.sent.map { $0["request"]?["subtype"]?.string } == ["mcp_set_servers"])
    let listed = driver.read(Self.server("initialize", 0), Self.server("tools/list", 1))
    #expect(listed.sent.map { $0["type"]?.string } == ["control_response", "control_response", "user"])
    let tools = listed.sent[1]["response"]?["response"]?["mcp_response"]?["result"]?["tools"]?.array
    #expect(tools?.map { $0["name"]?.string } == ["weather"])
    driver.read(ClaudeLines.lifecycle(listed.sent[2]["uuid"]?.string ?? "", "started"))
    return driver
  }

  @Test("the tools are there before the turn's line, and the same ones are not told again")
  func claudeOffers() throws {
    var driver = try Self.claude()
    driver.read(ClaudeLines.completed)
    let next = driver.begin("e2", options: Self.options())
    #expect(next.sent.map { $0["type"]?.string } == ["user"])
    driver.read(ClaudeLines.lifecycle(next.sent[0]["uuid"]?.string ?? "", "started"), ClaudeLines.completed)
    let other = driver.begin("e3", options: Self.options([Self.weather, ClientTool(name: "clock")]))
    #expect(other.sent.map { $0["request"]?["message"]?["method"]?.string } == ["notifications/tools/list_changed"])
    // It is ended before the harness has its line: there is nothing to interrupt.
    let ended = driver.machine.interrupt(reason: "test")
    #expect(ended.contains(.turnEnded(ExecutionID(rawValue: "e3"))) && ended.sent.isEmpty)
    let none = driver.begin("e4")
    #expect(none.sent.map { $0["type"]?.string } == ["control_request", "user"])
  }

  @Test("a harness that never asks for the tools works without them, and the log says so")
  func claudeNeverAsks() throws {
    var driver = try ClaudeDriver.ready()
    _ = driver.begin("e1", options: Self.options())
    let given = driver.machine.timerFired(.init(name: "offer"))
    #expect(given.sent.map { $0["type"]?.string } == ["user"] && given.warnings == ["tools_not_offered"])
  }

  /// What the harness is asked of the server, by name; the turn's line as `user`.
  private static func asked(_ actions: [HarnessAction]) -> [String] {
    actions.sent.map { line in
      guard let request = line["request"] else { return line["type"]?.string ?? "" }
      let servers = request["servers"]?.object
      return servers.map { $0.isEmpty ? "remove" : "add" } ?? request["subtype"]?.string ?? ""
    }
  }

  @Test(
    "tools that Claude Code did not take are offered again in the next turn, and it asks for them",
    arguments: ["control error", "server error", "silence"])
  func claudeOffersAgain(_ trouble: String) throws {
    var driver = try ClaudeDriver.ready()
    let asked = driver.begin("e1", options: Self.options()).sent[0]["request_id"] ?? .null
    let first: [HarnessAction]
    switch trouble {
    case "control error":
      first = driver.read(
        ClaudeLines.line([
          "type": "control_response", "response": ["subtype": "error", "request_id": asked, "error": "no servers"],
        ]))
    case "server error":
      first = driver.read(
        ClaudeLines.line([
          "type": "control_response",
          "response": [
            "subtype": "success", "request_id": asked, "response": ["added": [], "errors": ["cp": "no servers"]],
          ],
        ]))
    default: first = driver.machine.timerFired(.init(name: "offer"))
    }
    #expect(first.warnings == ["tools_not_offered"] && Self.asked(first) == ["user"])
    driver.read(ClaudeLines.lifecycle(first.sent[0]["uuid"]?.string ?? "", "started"), ClaudeLines.completed)
    // One that is there already would not be added: the turn would wait in vain, and so would each one after it.
    driver.machine = try ClaudeCode().machine(saved: try driver.machine.saved)
    let again = driver.begin("e2", options: Self.options())
    #expect(Self.asked(again) == ["remove", "add"])
    #expect(Set(Self.frames(again)).count == 2, "the shim takes each frame once")
    let listed = driver.read(Self.server("initialize", 0), Self.server("tools/list", 1))
    #expect(Self.asked(listed).last == "user" && listed.warnings.isEmpty)
    driver.read(ClaudeLines.lifecycle(listed.sent[2]["uuid"]?.string ?? "", "started"), ClaudeLines.completed)
    #expect(Self.asked(driver.begin("e3", options: Self.options())) == ["user"])
  }

  @Test("what is left of tools that were not taken is not there in a turn that offers none")
  func claudeRemovesLeftOver() throws {
    var driver = try ClaudeDriver.ready()
    _ = driver.begin("e1", options: Self.options())
    let first = driver.machine.timerFired(.init(name: "offer"))
    driver.read(ClaudeLines.lifecycle(first.sent[0]["uuid"]?.string ?? "", "started"), ClaudeLines.completed)
    let none = driver.begin("e2")
    #expect(Self.asked(none) == ["remove", "user"])
    // It may not know how to: nobody's tools are concerned.
    let refused = driver.read(
      ClaudeLines.line([
        "type": "control_response",
        "response": ["subtype": "error", "request_id": none.sent[0]["request_id"] ?? .null, "error": "no servers"],
      ]))
    #expect(refused.isEmpty)
  }

  @Test("the turn waits when the model has ended its message, for all that it has asked, and goes on with each answer")
  func claudeCalls() throws {
    var driver = try Self.claude()
    let during = driver.read(
      ClaudeLines.messageStart("m1"), ClaudeLines.blockStart(0, "tool_use"),
      ClaudeLines.assistant("m1", ClaudeLines.toolUse("t1", "mcp__cp__weather", ["city": "Bern"])),
      Self.toolCall("t1", 2),
      ClaudeLines.assistant("m1", ClaudeLines.toolUse("t2", "mcp__cp__weather", ["city": "Ulm"])),
      Self.toolCall("t2", 3))
    #expect(Self.waits(during).isEmpty)
    let over = driver.read(ClaudeLines.messageDelta("tool_use"), ClaudeLines.messageStop)
    #expect(Self.waits(over).first?.map(\.id.ordinal) == [1, 2])
    var restored = driver
    restored.machine = try ClaudeCode().machine(saved: try driver.machine.saved)
    let first = restored.machine.answer(Self.output(1))
    #expect(Self.frames(first) == ["e1/tool/1"])
    let told = first.sent[0]["response"]?["response"]?["mcp_response"]
    #expect(told?["id"]?.int == 2 && told?["result"]?["content"]?.array?.first?["text"] == "sunny")
    let second = restored.machine.answer(Self.output(2, isError: true))
    #expect(second.sent[0]["response"]?["response"]?["mcp_response"]?["result"]?["isError"] == true)
    #expect(restored.machine.answer(Self.output(2)).isEmpty)
  }

  @Test("a call that is asked while another waits is heard of when that one is answered")
  func claudeAsksMeanwhile() throws {
    var driver = try Self.claude()
    let first = driver.read(
      ClaudeLines.assistant("m1", ClaudeLines.toolUse("t1", "mcp__cp__weather", [:])), Self.toolCall("t1", 2))
    #expect(Self.waits(first).first?.map(\.id.ordinal) == [1])
    #expect(Self.waits(driver.read(Self.toolCall("t2", 3))).isEmpty)
    _ = driver.machine.answer(Self.output(1))
    let next = driver.read(ClaudeLines.toolResult("t1", "sunny"))
    #expect(Self.waits(next).first?.map(\.id.ordinal) == [2])
  }

  // MARK: codex exec

  @Test("a harness that cannot be given tools says so")
  func codexExec() throws {
    var machine = CodexExec().machine(.test("/bin/codex"))
    let begun = machine.begin(
      HarnessTurn(
        execution: Self.execution, input: [Message(parts: [.text("go")])], model: "m", options: Self.options()))
    #expect(begun.warnings == ["tools_not_offered"])
  }
}
