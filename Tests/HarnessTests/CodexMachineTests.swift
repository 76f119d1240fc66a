import Harness
import SessionModel
import Testing

/// What no recording holds: a harness that breaks its own rules, or that ends in the middle.
struct CodexMachineTests {
  private static func context(state: JSONValue? = nil, history: [Message] = []) -> HarnessContext {
    .test("/bin/codex", instructions: "be brief", state: state, history: history)
  }

  private static func line(_ json: JSONValue) -> HarnessLine { HarnessLine(offset: 0, bytes: json.serialized) }

  /// The number of the newest request of a method among actions.
  private static func request(_ method: String, _ actions: [HarnessAction]) -> JSONValue? {
    for case .send(_, let bytes) in actions.reversed() {
      if let message = try? JSONValue(parsing: bytes), message["method"]?.string == method { return message }
    }
    return nil
  }

  /// A machine whose conversation is there.
  private static func ready(_ context: HarnessContext = context()) throws -> any HarnessMachine {
    var machine = CodexAppServer().machine(context)
    let hello = try #require(request("initialize", machine.launched()))
    let start = machine.read(line(["id": hello["id"] ?? .null, "result": ["userAgent": "x"]]))
    let thread = try #require(request(context.state == nil ? "thread/start" : "thread/resume", start))
    let actions = machine.read(line(["id": thread["id"] ?? .null, "result": ["thread": ["id": "T"]]]))
    if context.history.isEmpty { #expect(actions.contains(.ready)) }
    return machine
  }

  private static func running() throws -> any HarnessMachine {
    var machine = try ready()
    let begun = machine.begin(
      HarnessTurn(execution: ExecutionID(rawValue: "e1"), input: [Message(parts: [.text("go")])], model: "m"))
    let start = try #require(request("turn/start", begun))
    _ = machine.read(line(["id": start["id"] ?? .null, "result": ["turn": ["id": "U"]]]))
    return machine
  }

  @Test("instructions reach a new conversation")
  func instructions() throws {
    var machine = CodexAppServer().machine(Self.context())
    let hello = try #require(Self.request("initialize", machine.launched()))
    let actions = machine.read(Self.line(["id": hello["id"] ?? .null, "result": [:]]))
    let start = try #require(Self.request("thread/start", actions))
    #expect(start["params"]?["developerInstructions"]?.string == "be brief")
  }

  @Test("a conversation that was begun is resumed, and one that is gone begins anew with a warning")
  func resume() throws {
    var machine = CodexAppServer().machine(Self.context(state: ["thread": "T"]))
    let hello = try #require(Self.request("initialize", machine.launched()))
    let actions = machine.read(Self.line(["id": hello["id"] ?? .null, "result": [:]]))
    let resume = try #require(Self.request("thread/resume", actions))
    #expect(resume["params"]?["threadId"]?.string == "T")
    let refused = machine.read(Self.line(["id": resume["id"] ?? .null, "error": ["code": -32600, "message": "gone"]]))
    // Another process begins the new one: what was said before is read for it.
    #expect(refused.contains(.saveState(["thread": .null])) && refused.last == .stop)
    #expect(
      !CodexAppServer().hasConversation(["thread": .null], tools: [])
        && CodexAppServer().hasConversation(["thread": "T"], tools: []))
    #expect(refused.contains { if case .emit(let draft) = $0 { draft.payload.kind == "warning" } else { false } })
  }

  @Test("what was said before is told to a new conversation before its first turn")
  func history() throws {
    let context = Self.context(history: [
      Message(parts: [.text("My name is Ada.")]), Message(role: .assistant, parts: [.text("Noted.")]),
    ])
    var machine = CodexAppServer().machine(context)
    let hello = try #require(Self.request("initialize", machine.launched()))
    let start = try #require(
      Self.request("thread/start", machine.read(Self.line(["id": hello["id"] ?? .null, "result": [:]]))))
    let told = machine.read(Self.line(["id": start["id"] ?? .null, "result": ["thread": ["id": "T"]]]))
    #expect(!told.contains(.ready))
    let inject = try #require(Self.request("thread/inject_items", told))
    #expect(inject["params"]?["items"]?.array?.count == 2)
    #expect(machine.read(Self.line(["id": inject["id"] ?? .null, "result": [:]])).contains(.ready))
  }

  @Test("a call of an MCP server's tool that failed keeps why, beside a result that is null")
  func failedCall() throws {
    var machine = try Self.running()
    let actions = machine.read(
      Self.line([
        "method": "item/completed",
        "params": [
          "threadId": "T", "turnId": "U",
          "item": [
            "type": "mcpToolCall", "id": "m1", "server": "lab", "tool": "find", "status": "failed", "arguments": [:],
            "result": nil, "error": ["message": "no such issue"],
          ],
        ],
      ]))
    let results = actions.drafts.compactMap { draft -> JSONValue? in
      guard case .itemCompleted(let item) = draft.payload, case .toolCall(let call) = item.content else { return nil }
      return call.result
    }
    #expect(results == [["message": "no such issue"]])
  }

  @Test("a process that ends in the middle of a turn fails it once and closes its items")
  func died() throws {
    var machine = try Self.running()
    let started = machine.read(
      Self.line([
        "method": "item/started",
        "params": [
          "threadId": "T", "turnId": "U",
          "item": ["type": "commandExecution", "id": "c1", "command": "sleep 9", "status": "inProgress"],
        ],
      ]))
    #expect(started.count == 1)
    let actions = machine.exited(HarnessExit(status: nil, signal: 9))
    guard case .executionFailed(let failure, _)? = actions.terminals.first else {
      Issue.record("the turn did not fail")
      return
    }
    #expect(failure.code == "harness_died" && failure.message.contains("signal 9"))
    #expect(
      actions.contains { if case .emit(let draft) = $0 { draft.payload.kind == "item.completed" } else { false } })
    #expect(machine.exited(HarnessExit(status: 0)).isEmpty)
  }

  @Test("an interrupt that is never answered ends by its timer, and with it the process")
  func interruptTimeout() throws {
    var machine = try Self.running()
    let asked = machine.interrupt(reason: "user")
    #expect(Self.request("turn/interrupt", asked) != nil)
    #expect(machine.interrupt(reason: "again").isEmpty)
    let actions = machine.timerFired(HarnessTimer(name: "interrupt"))
    #expect(actions.terminals.count == 1 && actions.contains(.stop))
  }

  @Test("an interrupt before the harness has named the turn waits for the name")
  func earlyInterrupt() throws {
    var machine = try Self.ready()
    let begun = machine.begin(
      HarnessTurn(execution: ExecutionID(rawValue: "e1"), input: [Message(parts: [.text("go")])], model: "m"))
    #expect(Self.request("turn/interrupt", machine.interrupt(reason: "user")) == nil)
    let start = try #require(Self.request("turn/start", begun))
    let actions = machine.read(Self.line(["id": start["id"] ?? .null, "result": ["turn": ["id": "U"]]]))
    #expect(Self.request("turn/interrupt", actions)?["params"]?["turnId"]?.string == "U")
  }

  @Test("after an interrupt the commands that it left running are ended before the turn's end is told")
  func clean() throws {
    var machine = try Self.running()
    _ = machine.interrupt(reason: "user")
    let over = machine.read(
      Self.line([
        "method": "turn/completed", "params": ["threadId": "T", "turn": ["id": "U", "status": "interrupted"]],
      ]))
    #expect(over.terminals.isEmpty)
    let clean = try #require(Self.request("thread/backgroundTerminals/clean", over))
    let cleaned = machine.read(Self.line(["id": clean["id"] ?? .null, "result": [:]]))
    guard case .executionCancelled(let reason, _)? = cleaned.terminals.first else {
      Issue.record("the turn was not cancelled")
      return
    }
    #expect(reason == "user")
    // The harness reports the killed command late: it belongs to no later turn.
    _ = machine.begin(
      HarnessTurn(execution: ExecutionID(rawValue: "e2"), input: [Message(parts: [.text("next")])], model: "m"))
    let late = machine.read(
      Self.line([
        "method": "item/completed",
        "params": [
          "threadId": "T", "turnId": "U",
          "item": ["type": "commandExecution", "id": "c1", "command": "sleep 9", "status": "failed"],
        ],
      ]))
    #expect(late.isEmpty)
  }

  @Test("a request of the harness to approve something is granted, never left waiting: nobody else is there to answer")
  func approvals() throws {
    var machine = try Self.running()
    let asked: JSONValue = ["id": 0, "method": "item/commandExecution/requestApproval", "params": ["threadId": "T"]]
    let answers = machine.read(Self.line(asked))
    guard case .send(_, let bytes)? = answers.first else {
      Issue.record("no answer")
      return
    }
    #expect(try JSONValue(parsing: bytes)["result"]?["decision"]?.string == "accept")
  }

  @Test("a line that is no JSON is warned of once and does no harm")
  func garbage() throws {
    var machine = try Self.running()
    let line = HarnessLine(offset: 0, bytes: Array("oops\u{1B}[0m".utf8))
    #expect(machine.read(line).count == 1)
    #expect(machine.read(line).isEmpty)
  }

  @Test("an item of an unknown kind is kept whole")
  func unknownItem() throws {
    var machine = try Self.running()
    let item: JSONValue = ["type": "hologram", "id": "h1", "beam": 7]
    let actions = machine.read(
      Self.line(["method": "item/completed", "params": ["threadId": "T", "turnId": "U", "item": item]]))
    let kept = actions.compactMap { action -> OtherItem? in
      guard case .emit(let draft) = action, case .itemCompleted(let item) = draft.payload,
        case .other(let other) = item.content
      else { return nil }
      return other
    }
    #expect(kept.first?.type == "hologram" && kept.first?.raw["beam"]?.int == 7)
  }
}
