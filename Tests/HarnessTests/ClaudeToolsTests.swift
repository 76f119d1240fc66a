import Harness
import SessionModel
import Testing

/// Claude Code's tools as a reader of the log meets them.
struct ClaudeToolsTests {
  /// A tool's item, started and closed.
  private static func item(
    _ name: String, _ input: JSONValue, _ content: JSONValue = "ok", isError: Bool = false, detail: JSONValue = .null
  ) throws -> Item {
    var driver = try ClaudeDriver.running()
    driver.read(ClaudeLines.assistant("m1", ClaudeLines.toolUse("t1", name, input)))
    return try #require(
      driver.read(ClaudeLines.toolResult("t1", content, isError: isError, detail: detail)).closed.first)
  }

  @Test("a list of things to do is a plan")
  func plan() throws {
    let item = try Self.item(
      "TodoWrite", ["todos": [["content": "look", "status": "completed"], ["content": "do", "status": "pending"]]])
    #expect(
      item.content
        == .plan(PlanItem(steps: [.init(text: "look", status: "completed"), .init(text: "do", status: "pending")])))
  }

  @Test("a search names what was searched for")
  func search() throws {
    #expect(try Self.item("WebSearch", ["query": "swift"]).content == .webSearch(WebSearchItem(query: "swift")))
  }

  @Test("a tool of an MCP server is told apart from the harness's own")
  func mcp() throws {
    let call = ToolCallItem(name: "tickets.look_up", arguments: ["id": "7"], result: "ok", origin: .mcp)
    #expect(try Self.item("mcp__tickets__look_up", ["id": "7"]).content == .toolCall(call))
    let read = ToolCallItem(name: "Read", arguments: ["file_path": "a"], result: "ok", origin: .harness)
    #expect(try Self.item("Read", ["file_path": "a"]).content == .toolCall(read))
  }

  @Test("an edit is a unified diff, a new file its content")
  func edits() throws {
    let patch: JSONValue = [
      "filePath": "/w/a",
      "structuredPatch": [
        ["oldStart": 1, "oldLines": 2, "newStart": 1, "newLines": 2, "lines": [" alpha", "-beta", "+gamma"]]
      ],
    ]
    let edited = try Self.item("Edit", ["file_path": "a"], detail: patch)
    #expect(
      edited.content
        == .fileChange(
          FileChangeItem(changes: [
            .init(path: "/w/a", kind: .update, diff: "@@ -1,2 +1,2 @@\n alpha\n-beta\n+gamma\n")
          ])))
    let made = try Self.item(
      "Write", ["file_path": "a"], detail: ["type": "create", "filePath": "/w/a", "content": "x\n"])
    #expect(made.content == .fileChange(FileChangeItem(changes: [.init(path: "/w/a", kind: .add, diff: "x\n")])))
  }

  @Test("an edit that failed changed nothing")
  func failedEdit() throws {
    let item = try Self.item("Edit", ["file_path": "/w/a"], "<tool_use_error>no</tool_use_error>", isError: true)
    #expect(item.status == .failed)
    #expect(item.content == .fileChange(FileChangeItem(changes: [.init(path: "/w/a", kind: .update)])))
  }

  @Test("a command that was never run has no exit status, and says why")
  func refusedCommand() throws {
    let item = try Self.item(
      "Bash", ["command": "sleep 9"], "<tool_use_error>Blocked: sleep 9</tool_use_error>", isError: true)
    #expect(item.content == .command(CommandItem(command: "sleep 9", output: "Blocked: sleep 9")))
    #expect(item.status == .failed)
  }

  @Test("a command's output is what it printed, without the harness's notes")
  func notes() throws {
    let item = try Self.item(
      "Bash", ["command": "cd /tmp"], "…",
      detail: ["stdout": "/tmp", "stderr": "\nShell cwd was reset to /w", "interrupted": false])
    #expect(item.content == .command(CommandItem(command: "cd /tmp", output: "/tmp", exitCode: 0)))
  }

  @Test("a command's output that was cut says so")
  func longOutput() throws {
    let item = try Self.item(
      "Bash", ["command": "yes"], "…", detail: ["stdout": "y", "stderr": "", "persistedOutputSize": 99])
    #expect(
      item.content
        == .command(CommandItem(command: "yes", output: "y\n… (cut; the whole output has 99 bytes)", exitCode: 0)))
  }

  @Test("a picture that the model looked at is not copied into the log")
  func pictures() throws {
    let item = try Self.item(
      "Read", ["file_path": "a.png"],
      [["type": "image", "source": ["type": "base64", "media_type": "image/png", "data": "AAAA"]]])
    guard case .toolCall(let call) = item.content else {
      Issue.record("not a call")
      return
    }
    #expect(call.result == [["type": "text", "text": "[image/png]"]])
  }
}
