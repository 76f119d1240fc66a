public import SessionModel

/// How the agent's work reads in a client that was written for a bare model: a live line while it runs, a short note
/// when it is done.
public enum WorkNarration {
  /// While it runs: `**Headline**` and one short line, which Codex's TUI shows as its status.
  public static func live(_ content: Item.Content) -> String? {
    switch content {
    case .command(let command): part("Running a command", code(command.command))
    case .fileChange(let change): part("Editing files", files(change))
    case .toolCall(let call): part("Using a tool", call.name)
    case .webSearch(let search): part("Searching the web", oneLine(search.query, 120))
    case .plan(let plan): part("Planning", planLine(plan))
    case .compaction: part("Compacting the conversation", "The agent's context is full; it goes on with a summary.")
    case .other(let other): part("Working", oneLine(other.type, 120))
    case .message, .reasoning: nil
    }
  }

  /// What stays in the transcript; nil where the live line was enough.
  public static func note(_ item: Item) -> String? {
    switch item.content {
    case .command(let command): note(command, item.status)
    case .fileChange(let change):
      item.status == .completed ? "Edited \(files(change))" : "Could not edit \(files(change))"
    case .toolCall(let call): "Used `\(oneLine(call.name, 80))`\(item.status == .completed ? "" : " (it failed)")"
    case .webSearch(let search): "Searched the web for “\(oneLine(search.query, 120))”"
    case .other(let other): "`\(oneLine(other.type, 60))` \(oneLine(other.raw.text, 300))"
    case .message, .reasoning, .plan, .compaction: nil
    }
  }

  private static func note(_ command: CommandItem, _ status: Item.Status) -> String {
    var note = "Ran \(code(command.command))"
    if let exitCode = command.exitCode {
      note += " → exit \(exitCode)"
    } else if status == .incomplete {
      note += " → cut off"
    }
    if let duration = command.duration, duration >= .seconds(1) {
      note += " (\((duration + .milliseconds(500)).components.seconds) s)"
    }
    let excerpt = excerpt(command.output)
    return excerpt.isEmpty ? note : "\(note)\n\n```\n\(excerpt)\n```"
  }

  /// The end of the output, where a command says what came of it.
  private static func excerpt(_ output: String) -> String {
    let lines = output.split(separator: "\n", omittingEmptySubsequences: false).map { String($0.prefix(200)) }
    let text = lines.last == "" ? Array(lines.dropLast()) : lines
    let shown = text.suffix(maximumLines)
    let omitted = text.count - shown.count
    return (omitted > 0 ? ["… \(omitted) more lines"] + shown : Array(shown)).joined(separator: "\n")
      .replacing("```", with: "'''")
  }

  private static let maximumLines = 12

  private static func part(_ headline: String, _ line: String) -> String { "**\(headline)**\n\n\(line)" }

  private static func code(_ text: String) -> String { "`\(oneLine(text, 160).replacing("`", with: "'"))`" }

  private static func files(_ change: FileChangeItem) -> String {
    let names = change.changes.prefix(4).map { change in
      let name = change.path.split(separator: "/").last.map(String.init) ?? change.path
      return "\(code(name))\(change.kind == .update ? "" : " (\(change.kind == .add ? "new" : "deleted"))")"
    }
    let more = change.changes.count - names.count
    return names.joined(separator: ", ") + (more > 0 ? " and \(more) more" : "")
  }

  private static func planLine(_ plan: PlanItem) -> String {
    guard let step = plan.steps.first(where: { $0.status == "in_progress" }) ?? plan.steps.first else {
      return oneLine(plan.text, 160)
    }
    let done = plan.steps.count { $0.status == "completed" }
    return "\(done) of \(plan.steps.count): \(oneLine(step.text, 140))"
  }

  private static func oneLine(_ text: String, _ limit: Int) -> String {
    let line = text.split(whereSeparator: \.isNewline).joined(separator: " ")
    return line.count > limit ? "\(line.prefix(limit))…" : line
  }
}
