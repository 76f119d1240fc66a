import SessionModel

/// Claude Code's tools in the session's vocabulary (Claude Code 2.1.330, recorded in wire/harness/claude/03-tools.jsonl).
enum ClaudeTools {
  /// By which the model answers where its answer must follow a schema.
  static let answer = "StructuredOutput"

  struct Outcome {
    /// What the model is told: a text or content blocks.
    var content: JSONValue
    var isError: Bool
    /// What a program is told (`tool_use_result`); a mere text where the tool failed.
    var detail: JSONValue?
    /// The tool was stopped by an interrupt; what the model is told are the harness's words.
    var wasStopped: Bool
    var duration: Duration?
  }

  static func started(_ name: String, _ input: JSONValue) -> Item.Content {
    switch name {
    case "Bash": return .command(CommandItem(command: input["command"]?.string ?? ""))
    case "Write", "Edit", "MultiEdit", "NotebookEdit":
      let path = input["file_path"]?.string ?? input["notebook_path"]?.string ?? ""
      return .fileChange(FileChangeItem(changes: [.init(path: path, kind: .update)]))
    case "TodoWrite":
      let steps = (input["todos"]?.array ?? []).map {
        PlanItem.Step(text: $0["content"]?.string ?? "", status: $0["status"]?.string ?? "pending")
      }
      return .plan(PlanItem(steps: steps))
    case "WebSearch": return .webSearch(WebSearchItem(query: input["query"]?.string ?? ""))
    default:
      guard name.hasPrefix("mcp__") else {
        return .toolCall(ToolCallItem(name: name, arguments: input, origin: .harness))
      }
      // `mcp__server__tool`; written as Codex's are.
      let parts = name.dropFirst("mcp__".count).split(separator: "__", maxSplits: 1)
      return .toolCall(ToolCallItem(name: parts.joined(separator: "."), arguments: input, origin: .mcp))
    }
  }

  static func finished(_ started: Item.Content, _ outcome: Outcome) -> (Item.Content, Item.Status) {
    guard !outcome.wasStopped else { return (started, .incomplete) }
    let status: Item.Status = outcome.isError ? .failed : .completed
    switch started {
    case .command(let command): return (.command(finished(command, outcome)), status)
    case .fileChange(let change):
      let edited = outcome.isError ? nil : outcome.detail.flatMap(self.change)
      return (.fileChange(edited.map { FileChangeItem(changes: [$0]) } ?? change), status)
    case .toolCall(var call):
      call.result = withoutImages(outcome.content)
      return (.toolCall(call), status)
    default: return (started, status)
    }
  }

  // MARK: Commands

  private static func finished(_ started: CommandItem, _ outcome: Outcome) -> CommandItem {
    var command = started
    command.duration = outcome.duration
    guard !outcome.isError else {
      (command.exitCode, command.output) = failure(text(outcome.content))
      return command
    }
    guard case .object(let detail)? = outcome.detail else {
      command.output = text(outcome.content)
      command.exitCode = 0
      return command
    }
    var output = detail["stdout"]?.string ?? ""
    let errors = detail["stderr"]?.string ?? ""
    let note = "Shell cwd was reset to "
    // Standard error is part of `stdout`; what stands in its own place are the harness's notes and what came late.
    let late = errors.split(separator: "\n").filter { !$0.hasPrefix(note) }.joined(separator: "\n")
    if !late.isEmpty { output += (output.isEmpty ? "" : "\n") + late }
    if let whole = detail["persistedOutputSize"]?.int { output += "\n… (cut; the whole output has \(whole) bytes)" }
    command.output = output
    // Neither a command that was cut off nor one that still runs has a status.
    let isOver = detail["interrupted"]?.bool != true && detail["backgroundTaskId"] == nil
    command.exitCode = isOver ? 0 : nil
    return command
  }

  /// `Exit code 3`, then the output; anything else is why the command was not run.
  private static func failure(_ text: String) -> (exitCode: Int?, output: String) {
    let lines = text.split(separator: "\n", maxSplits: 1, omittingEmptySubsequences: false)
    let mark = "Exit code "
    if let first = lines.first, first.hasPrefix(mark), let code = Int(first.dropFirst(mark.count)) {
      return (code, lines.count > 1 ? String(lines[1]) : "")
    }
    return (nil, text.replacing("<tool_use_error>", with: "").replacing("</tool_use_error>", with: ""))
  }

  // MARK: Edits

  private static func change(_ detail: JSONValue) -> FileChangeItem.Change? {
    guard let path = detail["filePath"]?.string ?? detail["notebook_path"]?.string else { return nil }
    if detail["type"]?.string == "create" {
      return .init(path: path, kind: .add, diff: detail["content"]?.string ?? "")
    }
    let hunks = (detail["structuredPatch"]?.array ?? []).map { hunk in
      func number(_ key: String) -> Int { hunk[key]?.int ?? 0 }
      let head =
        "@@ -\(number("oldStart")),\(number("oldLines")) +\(number("newStart")),\(number("newLines")) @@\n"
      return head + (hunk["lines"]?.array ?? []).compactMap(\.string).map { "\($0)\n" }.joined()
    }
    return .init(path: path, kind: .update, diff: hunks.joined())
  }

  // MARK: Texts

  /// A text, or the texts of content blocks.
  static func text(_ content: JSONValue) -> String {
    content.string ?? (content.array ?? []).compactMap { $0["text"]?.string }.joined(separator: "\n")
  }

  /// An image that the model looked at stays in the workspace; the log does not keep another copy.
  private static func withoutImages(_ content: JSONValue) -> JSONValue {
    guard case .array(let blocks) = content else { return content }
    return .array(
      blocks.map { block in
        guard block["type"]?.string == "image" else { return block }
        return ["type": "text", "text": .string("[\(block["source"]?["media_type"]?.string ?? "an image")]")]
      })
  }
}
