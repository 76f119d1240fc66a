import SessionModel

/// What a request is, before any session is looked up: a turn for an agent, or something that Codex asks for itself.
///
/// Follows the table of wire/codex-client.md §2. The metadata decides where there is some; the shapes of the body are
/// the second witness.
enum RequestClass: String, Sendable, Hashable {
  case turn
  /// A title for the TUI's thread list; a session of its own id, in parallel with the first turn.
  case title
  /// A summary of the conversation as text (any provider name).
  case compaction
  /// The same as one opaque item (provider name "OpenAI").
  case compactionItem
  case review
  case subagent
  /// A WebSocket's first frame, which wants no answer but an id.
  case prewarm
  /// The output of a client's own tool, which we never ask Codex to run.
  case toolFollowUp

  static func of(_ body: JSONValue, _ metadata: CodexMetadata) -> RequestClass {
    let input = body["input"]?.array ?? []
    let last = input.last ?? .null
    if last["type"]?.string == "compaction_trigger" { return .compactionItem }
    if metadata.requestKind == "compaction" || asksForSummary(last) { return .compaction }
    if metadata.requestKind == "prewarm" || body["generate"]?.bool == false { return .prewarm }
    if metadata.threadSource == "thread_title" || asksForTitle(body) { return .title }
    if metadata.subagentKind == "review" { return .review }
    if metadata.isSubagent || metadata.threadSource == "subagent" { return .subagent }
    if let session = metadata.sessionID, let thread = metadata.threadID, session != thread {
      return isReview(input) ? .review : .subagent
    }
    if last["type"]?.string?.hasSuffix("_call_output") == true { return .toolFollowUp }
    return .turn
  }

  /// Codex's own request has no id on this message; a person's has.
  private static func asksForSummary(_ last: JSONValue) -> Bool {
    guard last["role"]?.string == "user", last["id"] == nil else { return false }
    return InputItem.firstText(last).hasPrefix("You are performing a CONTEXT CHECKPOINT COMPACTION")
  }

  private static func asksForTitle(_ body: JSONValue) -> Bool {
    guard (body["tools"]?.array ?? []).isEmpty, let format = body["text"]?["format"],
      format["name"]?.string == "codex_output_schema",
      case .object(let properties)? = format["schema"]?["properties"]
    else { return false }
    return properties.count == 1 && properties["title"] != nil
  }

  private static func isReview(_ input: [JSONValue]) -> Bool {
    input.contains { $0["role"]?.string == "developer" && InputItem.firstText($0).contains("# Review guidelines") }
  }
}
