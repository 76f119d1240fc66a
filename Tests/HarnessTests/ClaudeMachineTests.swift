import Harness
import SessionModel
import Testing

/// What no recording holds: a harness that breaks its own rules, or that ends in the middle.
struct ClaudeMachineTests {
  @Test("a process that ends in the middle of a turn fails it once and closes its items")
  func died() throws {
    var driver = try ClaudeDriver.running()
    driver.read(ClaudeLines.assistant("m1", ClaudeLines.toolUse("t1", "Bash", ["command": "sleep 9"])))
    let actions = driver.machine.exited(HarnessExit(status: nil, signal: 9))
    guard case .executionFailed(let failure, _)? = actions.terminals.first else {
      Issue.record("the turn did not fail")
      return
    }
    #expect(failure.code == "harness_died" && failure.message.contains("signal 9"))
    #expect(actions.closed.map(\.status) == [.incomplete])
    #expect(driver.machine.exited(HarnessExit(status: 0)).isEmpty)
  }

  @Test("an interrupt that is never answered ends by its timer, and with it the process")
  func interruptTimeout() throws {
    var driver = try ClaudeDriver.running()
    let asked = driver.machine.interrupt(reason: "user")
    #expect(asked.sent.first?["request"]?["subtype"]?.string == "interrupt")
    #expect(driver.machine.interrupt(reason: "again").isEmpty)
    let actions = driver.machine.timerFired(HarnessTimer(name: "interrupt"))
    #expect(actions.terminals == [.executionCancelled(reason: "user", TurnUsage())] && actions.contains(.stop))
  }

  @Test("a turn that is interrupted before the harness takes it up ends with its cancellation")
  func earlyInterrupt() throws {
    var driver = try ClaudeDriver.ready()
    let uuid = try #require(driver.begin("e1").sent.last?["uuid"]?.string)
    let asked = driver.machine.interrupt(reason: "user")
    #expect(asked.sent.first?["request"]?["cancel_queued"]?.bool == true)
    #expect(driver.read(ClaudeLines.lifecycle(uuid, "queued")).isEmpty)
    let actions = driver.read(ClaudeLines.lifecycle(uuid, "cancelled"))
    #expect(actions.terminals == [.executionCancelled(reason: "user", TurnUsage())])
    #expect(actions.contains(.turnEnded(ExecutionID(rawValue: "e1"))) && !actions.contains(.stop))
  }

  @Test("what the harness prints late, or of its own accord, is not the next turn's")
  func otherTurns() throws {
    var driver = try ClaudeDriver.running()
    #expect(driver.read(ClaudeLines.completed).terminals.count == 1)
    let own = [
      ClaudeLines.messageStart("x"), ClaudeLines.blockStart(0, "text"), ClaudeLines.textDelta("by myself"),
      ClaudeLines.assistant("x", ClaudeLines.text("by myself")), ClaudeLines.completed,
    ]
    for line in own { #expect(driver.read(line).isEmpty) }
    let uuid = try #require(driver.begin("e2").sent.last?["uuid"]?.string)
    for line in own { #expect(driver.read(line).isEmpty) }
    driver.read(ClaudeLines.lifecycle(uuid, "started"))
    let actions = driver.read(ClaudeLines.assistant("y", ClaudeLines.text("for you")), ClaudeLines.completed)
    #expect(actions.closed.map(\.content) == [.message(MessageItem(text: "for you"))])
    #expect(actions.contains(.turnEnded(ExecutionID(rawValue: "e2"))))
  }

  @Test("a message for the running turn is left for a turn of its own")
  func steer() throws {
    var driver = try ClaudeDriver.running()
    #expect(driver.machine.steer(Message(parts: [.text("also")]), inputID: "i") == [.steerRejected(inputID: "i")])
  }

  @Test(
    "what the harness asks is answered at once, and never with yes",
    arguments: [
      ("can_use_tool", "deny"), ("hook_callback", "success"), ("mcp_message", "-32601"),
      ("request_user_dialog", "error"),
    ])
  func questions(_ subtype: String, _ answer: String) throws {
    var driver = try ClaudeDriver.running()
    let asked: JSONValue = [
      "type": "control_request", "request_id": "q1",
      "request": ["subtype": .string(subtype), "message": ["jsonrpc": "2.0", "id": 4, "method": "tools/list"]],
    ]
    let sent = driver.read(ClaudeLines.line(asked)).sent
    #expect(sent.count == 1 && sent[0]["type"]?.string == "control_response")
    #expect(sent[0]["response"]?["request_id"]?.string == "q1" && sent[0].text.contains(answer))
  }

  @Test("a line that is no JSON is warned of once and does no harm")
  func garbage() throws {
    var driver = try ClaudeDriver.running()
    let line = HarnessLine(offset: 0, bytes: Array("oops\u{1B}[0m".utf8))
    #expect(driver.read(line).warnings == ["harness_protocol"])
    #expect(driver.read(line, ClaudeLines.line(["type": "novelty"]), ClaudeLines.line([:])).isEmpty)
  }

  @Test("a block of an unknown kind is kept whole")
  func unknownBlock() throws {
    var driver = try ClaudeDriver.running()
    let actions = driver.read(ClaudeLines.assistant("m1", ["type": "hologram", "beam": 7]))
    guard case .other(let other)? = actions.closed.first?.content else {
      Issue.record("not kept")
      return
    }
    #expect(other.type == "hologram" && other.raw["beam"]?.int == 7)
  }

  @Test("results of tools that run at once find their calls in any order")
  func parallelTools() throws {
    var driver = try ClaudeDriver.running()
    driver.read(
      ClaudeLines.assistant("m1", ClaudeLines.toolUse("t1", "Bash", ["command": "one"])),
      ClaudeLines.assistant("m1", ClaudeLines.toolUse("t2", "Bash", ["command": "two"])))
    let closed = driver.read(
      ClaudeLines.toolResult("t2", "2", detail: ["stdout": "2", "stderr": ""]),
      ClaudeLines.toolResult("t1", "Exit code 3\n1", isError: true, detail: "Error: Exit code 3\n1")
    ).closed
    #expect(closed.map(\.ordinal) == [2, 1] && closed.map(\.status) == [.completed, .failed])
    #expect(closed[0].content == .command(CommandItem(command: "two", output: "2", exitCode: 0)))
    #expect(closed[1].content == .command(CommandItem(command: "one", output: "1", exitCode: 3)))
  }

  @Test("what an agent does is shown under the tool that sent it, and what it says is not the conversation's")
  func subagent() throws {
    var driver = try ClaudeDriver.running()
    driver.read(ClaudeLines.assistant("m1", ClaudeLines.toolUse("t1", "Agent", ["prompt": "look"])))
    let inside = driver.read(
      ClaudeLines.assistant("s1", ClaudeLines.text("I am an agent"), parent: "t1"),
      ClaudeLines.assistant("s1", ClaudeLines.toolUse("u1", "Bash", ["command": "ls"]), parent: "t1"),
      ClaudeLines.toolResult("u1", "files", parent: "t1"))
    let call = ToolCallItem(name: "Agent/Bash", arguments: ["command": "ls"], result: "files", origin: .harness)
    #expect(inside.closed.map(\.content) == [.toolCall(call)])
    let report = driver.read(ClaudeLines.toolResult("t1", [ClaudeLines.text("report")])).closed
    guard case .toolCall(let agent)? = report.first?.content else {
      Issue.record("the agent's own call was not closed")
      return
    }
    #expect(agent.name == "Agent" && agent.result?.text.contains("report") == true)
  }

  @Test("a text before a tool is commentary, the text at the end is the answer")
  func phases() throws {
    var driver = try ClaudeDriver.running()
    let actions = driver.read(
      ClaudeLines.messageStart("m1"), ClaudeLines.blockStart(0, "text"), ClaudeLines.textDelta("Looking."),
      ClaudeLines.assistant("m1", ClaudeLines.text("Looking.")), ClaudeLines.blockStart(1, "tool_use"),
      ClaudeLines.assistant("m1", ClaudeLines.toolUse("t1", "Read", ["file_path": "a"])),
      ClaudeLines.messageDelta("tool_use"), ClaudeLines.messageStop, ClaudeLines.toolResult("t1", "content"),
      ClaudeLines.messageStart("m2"), ClaudeLines.blockStart(0, "text"), ClaudeLines.textDelta("Done."),
      ClaudeLines.assistant("m2", ClaudeLines.text("Done.")), ClaudeLines.messageDelta("end_turn"),
      ClaudeLines.messageStop, ClaudeLines.completed)
    let messages = actions.closed.compactMap { item -> MessageItem? in
      if case .message(let message) = item.content { message } else { nil }
    }
    #expect(
      messages == [MessageItem(phase: .commentary, text: "Looking."), MessageItem(phase: .final, text: "Done.")])
  }

  @Test("an answer that breaks off is closed, and the one that takes its place is another")
  func brokenOff() throws {
    var driver = try ClaudeDriver.running()
    let actions = driver.read(
      ClaudeLines.messageStart("m1"), ClaudeLines.blockStart(0, "text"), ClaudeLines.textDelta("ha"),
      ClaudeLines.line([
        "type": "system", "subtype": "api_retry", "attempt": 1, "max_retries": 2, "error_status": .null,
        "error": "unknown",
      ]),
      ClaudeLines.assistant("m2", ClaudeLines.text("half and whole")), ClaudeLines.completed)
    #expect(actions.warnings == ["provider_retry"])
    #expect(actions.closed.map(\.status) == [.incomplete, .completed])
    #expect(actions.closed.last?.content == .message(MessageItem(text: "half and whole")))
    guard case .executionCompleted(let usage)? = actions.terminals.first else {
      Issue.record("the turn was not completed")
      return
    }
    #expect(usage.modelCalls == 2 && usage.sum.input == 13)
  }

  @Test("when the harness shortens the conversation, the log says so")
  func compaction() throws {
    var driver = try ClaudeDriver.running()
    func system(_ members: JSONValue) -> HarnessLine {
      var object = members.object ?? JSONObject()
      object["type"] = "system"
      return ClaudeLines.line(.object(object))
    }
    let done = driver.read(
      system(["subtype": "status", "status": "compacting"]),
      system(["subtype": "status", "status": .null, "compact_result": "success"]),
      system(["subtype": "compact_boundary"]))
    #expect(done.closed == [Item(ordinal: 1, status: .completed, content: .compaction)])
    let failed = driver.read(
      system(["subtype": "status", "status": "compacting"]),
      system(["subtype": "status", "status": .null, "compact_result": "failed"]))
    #expect(failed.closed == [Item(ordinal: 2, status: .failed, content: .compaction)])
  }

  static let failures: [(JSONValue, String, String)] = [
    (
      ["api_error_status": 401, "result": "Failed to authenticate. API Error: 401 bad key"], "provider_authentication",
      "bad key"
    ),
    (
      ["api_error_status": 429, "result": "API Error: Request rejected (429) · slow down"], "provider_rate_limit",
      "slow down"
    ),
    (["api_error_status": 400, "result": "API Error: 400 bad param"], "provider_invalid_request", "bad param"),
    (["api_error_status": 400, "result": "Credit balance is too low"], "provider_quota", "Credit balance"),
    (
      [
        "api_error_status": 529,
        "result": "API Error: 529 Overloaded. This is a server-side issue; if it persists, check (127.0.0.1:7).",
      ], "provider_unavailable", "Overloaded."
    ),
    (
      ["api_error": "connection_failed", "terminal_reason": "api_error", "result": "API Error: Connection refused"],
      "provider_unavailable", "Connection refused"
    ),
    (
      [
        "api_error": "connection_failed", "terminal_reason": "api_error",
        "result": "API Error: Connection to the API was lost (ECONNRESET). This is usually temporary — try again.",
      ], "provider_stream_cut", "(ECONNRESET)."
    ),
    (
      ["terminal_reason": "prompt_too_long", "api_error_status": 400, "result": "Prompt is too long"],
      "context_window_exceeded", "Prompt is too long"
    ),
    (["subtype": "error_max_turns"], "harness_protocol", "error_max_turns"),
  ]

  @Test("a failure has the code and the sentence that clients know, and no address of ours", arguments: failures)
  func failure(_ result: JSONValue, _ code: String, _ words: String) throws {
    var driver = try ClaudeDriver.running()
    var line = result.object ?? JSONObject()
    line["type"] = "result"
    line["is_error"] = true
    guard case .executionFailed(let failure, _)? = driver.read(ClaudeLines.line(.object(line))).terminals.first else {
      Issue.record("the turn did not fail")
      return
    }
    #expect(failure.code == code && failure.message.contains(words) && !failure.message.contains("127.0.0.1"))
  }

  @Test("an answer that breaks off each time fails the turn as cut off")
  func cutOff() throws {
    var driver = try ClaudeDriver.running()
    let actions = driver.read(
      ClaudeLines.messageStart("m1"),
      ClaudeLines.line([
        "type": "stream_event", "event": ["type": "message_stop"], "abandoned_blocks": ["from_block_index": 0],
      ]),
      ClaudeLines.line(["type": "result", "subtype": "error_during_execution", "is_error": true]))
    guard case .executionFailed(let failure, _)? = actions.terminals.first else {
      Issue.record("the turn did not fail")
      return
    }
    #expect(failure.code == "provider_stream_cut")
  }
}
