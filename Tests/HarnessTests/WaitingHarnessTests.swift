import Harness
import SessionModel
import Testing

/// A harness that was started before its session was known.
struct WaitingHarnessTests {
  private static func line(_ json: JSONValue) -> HarnessLine { HarnessLine(offset: 0, bytes: json.serialized) }

  private static func sent(_ actions: [HarnessAction]) -> [JSONValue] {
    actions.compactMap { action in
      guard case .send(_, let bytes) = action else { return nil }
      return try? JSONValue(parsing: bytes)
    }
  }

  /// Answers the newest request of a method.
  private static func answer(
    _ method: String, in actions: [HarnessAction], _ result: JSONValue, _ machine: inout any HarnessMachine
  ) throws -> [HarnessAction] {
    let request = try #require(sent(actions).last { $0["method"]?.string == method })
    return machine.read(line(["id": request["id"] ?? .null, "result": result]))
  }

  private static func waitingCodex() throws -> any HarnessMachine {
    var machine = CodexAppServer().machine(.test("/bin/codex"))
    let greeted = try answer("initialize", in: machine.launchedWithoutSession(), [:], &machine)
    let begun = try answer("thread/start", in: greeted, ["thread": ["id": "T1"]], &machine)
    #expect(begun == [.ready])
    return machine
  }

  @Test("Codex serves a session without instructions in the conversation that it has begun, at once")
  func codex() throws {
    var machine = try Self.waitingCodex()
    #expect(machine.claimed(by: .test("/bin/codex")) == [.saveState(["thread": "T1"]), .ready])
  }

  @Test("Codex begins another conversation for a session that has instructions, and is told what was said before")
  func codexTold() throws {
    var machine = try Self.waitingCodex()
    let context = HarnessContext.test(
      "/bin/codex", instructions: "be brief", history: [Message(parts: [.text("earlier")])])
    #expect(CodexAppServer().canBeClaimed(by: context))
    let claimed = machine.claimed(by: context)
    #expect(Self.sent(claimed).last?["params"]?["developerInstructions"]?.string == "be brief")
    let begun = try Self.answer("thread/start", in: claimed, ["thread": ["id": "T2"]], &machine)
    #expect(Self.sent(begun).last?["params"]?["threadId"]?.string == "T2")
    #expect(Self.sent(begun).last?["params"]?["items"]?.array?.count == 1)
    #expect(
      try Self.answer("thread/inject_items", in: begun, [:], &machine) == [.saveState(["thread": "T2"]), .ready])
  }

  @Test("Claude Code is given a session's instructions when that comes, before the turn")
  func claude() throws {
    var machine = ClaudeCode().machine(.test("/bin/claude"))
    let probe = try #require(Self.sent(machine.launchedWithoutSession()).first)
    #expect(probe["request"]?["subtype"]?.string == "get_settings")
    let response: JSONValue = ["subtype": "success", "request_id": probe["request_id"] ?? .null, "response": [:]]
    #expect(machine.read(Self.line(["type": "control_response", "response": response])) == [.ready])
    let context = HarnessContext.test("/bin/claude", instructions: "be brief")
    #expect(ClaudeCode().canBeClaimed(by: context))
    let claimed = machine.claimed(by: context)
    #expect(Self.sent(claimed).map { $0["request"]?["appendSystemPrompt"]?.string } == ["be brief"])
    #expect(claimed.last == .ready)
    #expect(claimed.contains { if case .saveState = $0 { true } else { false } })
    // A refusal comes late; the session is told.
    let initialize = Self.sent(claimed)[0]
    let refusal: JSONValue = ["subtype": "error", "request_id": initialize["request_id"] ?? .null, "error": "no"]
    guard case .emit(let draft)? = machine.read(Self.line(["type": "control_response", "response": refusal])).first,
      case .warning(let code, _) = draft.payload
    else {
      Issue.record("nothing was said")
      return
    }
    #expect(code == "instructions_not_given")
  }

  @Test("what must be there before the process cannot be given to one that waits")
  func misfits() {
    let told = HarnessContext.test("/bin/claude", history: [Message(parts: [.text("earlier")])])
    #expect(!ClaudeCode().canBeClaimed(by: told))
    #expect(!CodexExec().canBeClaimed(by: .test("/bin/codex")))
  }
}
