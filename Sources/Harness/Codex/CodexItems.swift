import SessionModel

/// Codex's items in the session's vocabulary (Codex 0.163.0, app-server protocol v2).
enum CodexItems {
  struct Reading {
    var content: Item.Content
    var status: Item.Status
  }

  /// Nil for what the log has already: the user's own messages.
  static func read(_ item: JSONValue) -> Reading? {
    let type = item["type"]?.string ?? ""
    switch type {
    case "userMessage": return nil
    case "agentMessage":
      return Reading(
        content: .message(MessageItem(phase: phase(item["phase"]?.string), text: item["text"]?.string ?? "")),
        status: .completed)
    case "reasoning":
      return Reading(
        content: .reasoning(
          ReasoningItem(
            summary: strings(item["summary"]), text: strings(item["content"]).joined(separator: "\n\n"))),
        status: .completed)
    case "commandExecution": return Reading(content: .command(command(item)), status: status(item))
    case "fileChange":
      return Reading(
        content: .fileChange(FileChangeItem(changes: (item["changes"]?.array ?? []).compactMap(change))),
        status: status(item))
    case "mcpToolCall": return Reading(content: .toolCall(mcpCall(item)), status: status(item))
    case "dynamicToolCall": return Reading(content: .toolCall(clientCall(item)), status: status(item))
    case "collabToolCall", "collabAgentToolCall":
      return Reading(
        content: .toolCall(
          ToolCallItem(
            name: item["tool"]?.string ?? type, arguments: item["arguments"] ?? item["prompt"] ?? .null,
            result: item["result"], origin: .harness)),
        status: status(item))
    case "plan":
      return Reading(content: .plan(PlanItem(steps: [], text: item["text"]?.string ?? "")), status: .completed)
    case "webSearch":
      return Reading(
        content: .webSearch(WebSearchItem(query: item["query"]?.string ?? item["action"]?["query"]?.string ?? "")),
        status: .completed)
    case "contextCompaction": return Reading(content: .compaction, status: .completed)
    default: return Reading(content: .other(OtherItem(type: type, raw: item)), status: status(item))
    }
  }

  static func plan(_ parameters: JSONValue) -> PlanItem {
    let steps = (parameters["plan"]?.array ?? []).map { step in
      let status = step["status"]?.string ?? "pending"
      return PlanItem.Step(text: step["step"]?.string ?? "", status: status == "inProgress" ? "in_progress" : status)
    }
    return PlanItem(steps: steps, text: parameters["explanation"]?.string ?? "")
  }

  static func phase(_ text: String?) -> MessageItem.Phase? {
    switch text {
    case "commentary": .commentary
    case "final_answer": .final
    default: nil
    }
  }

  private static func status(_ item: JSONValue) -> Item.Status {
    switch item["status"]?.string {
    case "failed", "declined": .failed
    default: .completed
    }
  }

  private static func command(_ item: JSONValue) -> CommandItem {
    CommandItem(
      command: ShellCommand.unwrapped(item["command"]?.string ?? ""), cwd: item["cwd"]?.string,
      output: item["aggregatedOutput"]?.string ?? "", exitCode: item["exitCode"]?.int,
      duration: item["durationMs"]?.int.map { .milliseconds($0) })
  }

  private static func change(_ change: JSONValue) -> FileChangeItem.Change? {
    guard let path = change["path"]?.string else { return nil }
    let kind = change["kind"]?["type"]?.string ?? change["kind"]?.string ?? "update"
    return FileChangeItem.Change(
      path: path, kind: FileChangeItem.Change.Kind(rawValue: kind) ?? .update,
      movedTo: change["kind"]?["move_path"]?.string, diff: change["diff"]?.string ?? "")
  }

  private static func mcpCall(_ item: JSONValue) -> ToolCallItem {
    let name = [item["server"]?.string, item["tool"]?.string].compactMap(\.self).joined(separator: ".")
    let error = item["error"].unlessNull
    let result = item["result"].unlessNull
    return ToolCallItem(name: name, arguments: item["arguments"] ?? .null, result: result ?? error, origin: .mcp)
  }

  private static func clientCall(_ item: JSONValue) -> ToolCallItem {
    let result = item["contentItems"].unlessNull
    return ToolCallItem(
      name: item["tool"]?.string ?? "", arguments: item["arguments"] ?? .null, result: result, origin: .client)
  }

  private static func strings(_ value: JSONValue?) -> [String] { (value?.array ?? []).compactMap(\.string) }
}
