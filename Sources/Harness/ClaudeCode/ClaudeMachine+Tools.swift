import Foundation
import SessionModel

/// What the model does: the harness's tools, and those of the agents that it sends out.
extension ClaudeMachine {
  mutating func toolStarted(_ block: JSONValue, _ line: JSONValue) -> [HarnessAction] {
    let name = block["name"]?.string ?? ""
    let input = block["input"] ?? .null
    return start(block, name, clientCall(name, input) ?? ClaudeTools.started(name, input), line)
  }

  private mutating func start(
    _ block: JSONValue, _ name: String, _ content: Item.Content, _ line: JSONValue
  ) -> [HarnessAction] {
    let id = block["id"]?.string ?? ""
    turn?.tools[id] = RunningTool(name: name, content: content, startedAt: Self.time(line))
    return turn?.items.start(id, content) ?? []
  }

  /// Results of tools, in whatever order they come; what else stands in the user's name is the harness's own.
  mutating func toolsReturned(_ line: JSONValue) -> [HarnessAction] {
    let results = (line["message"]?["content"]?.array ?? []).filter { $0["type"]?.string == "tool_result" }
    return results.flatMap { block -> [HarnessAction] in
      let id = block["tool_use_id"]?.string ?? ""
      guard let tool = turn?.tools.removeValue(forKey: id) else { return [] }
      let outcome = ClaudeTools.Outcome(
        content: block["content"] ?? .null, isError: block["is_error"]?.bool == true,
        // It is said of the line, so it can be told of one result only.
        detail: results.count == 1 ? line["tool_use_result"] : nil,
        wasStopped: line["tool_use_result"]?.string == "User rejected tool use",
        duration: Self.duration(from: tool.startedAt, to: line))
      let (content, status) = ClaudeTools.finished(tool.content, outcome)
      return turn?.items.complete(id, content, status) ?? []
    }
  }

  /// What an agent does that the model has sent out: each of its tools as a call under the name of the tool that sent it
  /// (`Agent/Bash`). What it says is for the model that sent it and comes back as that tool's result; its words are never
  /// the conversation's.
  mutating func subagentSaid(_ line: JSONValue, under parent: String) -> [HarnessAction] {
    let message = line["message"] ?? .null
    switch line["type"]?.string {
    case "assistant":
      var actions: [HarnessAction] = []
      let id = message["id"]?.string ?? ""
      if turn?.countedMessages.insert(id).inserted == true {
        actions += countBeside(ClaudeUsage.read(message["usage"] ?? .null))
      }
      let agent = turn?.tools[parent]?.name ?? "Agent"
      for block in message["content"]?.array ?? [] where block["type"]?.string == "tool_use" {
        let name = "\(agent)/\(block["name"]?.string ?? "")"
        let input = block["input"] ?? .null
        let call = Item.Content.toolCall(ToolCallItem(name: name, arguments: input, origin: .harness))
        actions += start(block, name, clientCall(block["name"]?.string ?? "", input) ?? call, line)
      }
      return actions
    case "user": return toolsReturned(line)
    default: return []
    }
  }

  /// When the harness printed a line, by its own clock.
  private static func time(_ line: JSONValue) -> Int64? {
    guard let text = line["timestamp"]?.string,
      let date = try? Date.ISO8601FormatStyle(includingFractionalSeconds: true).parse(text)
    else { return nil }
    return Int64((date.timeIntervalSince1970 * 1000).rounded())
  }

  private static func duration(from start: Int64?, to line: JSONValue) -> Duration? {
    guard let start, let end = time(line) else { return nil }
    return .milliseconds(max(0, end - start))
  }
}
