import Ingress
import SessionModel

/// What a request of Claude Code is, before any session is looked up: a turn for an agent, or something that the client
/// asks for itself. All of them carry the id of the main session.
///
/// Follows wire/claude-client.md §2 and its oracle (wire/claude-client-rule.py): the client's hint where it gives one,
/// else the shapes of the body; the first match wins.
enum RequestClass: String, Sendable, Hashable {
  case turn
  /// A try whether there is a model at all.
  case probe
  case subagent
  /// A small answer that must follow a schema, such as a title.
  case schema
  case webSearch
  case compaction
  /// `/btw`: a question beside the conversation.
  case sideQuestion
  /// A hook that asks a model for its judgement.
  case hook
  /// A copy of the conversation with another question at its end.
  case fork

  static func of(_ request: MessagesRequest, _ headers: RequestHeaders) -> RequestClass {
    let hint = headers["x-claude-code-request-class"].flatMap { $0 == "main" ? nil : $0 }
    let shape = shape(request)
    // The hint says that it is no turn, the shape which kind it is.
    guard let hint, shape == .turn || shape == .fork else { return shape }
    switch hint {
    case "subagent", "workflow": return .subagent
    case "compaction": return .compaction
    default: return .fork
    }
  }

  private static func shape(_ request: MessagesRequest) -> RequestClass {
    let body = request.body
    if body["max_tokens"]?.int == 1 { return .probe }
    let system = systemTexts(body["system"])
    if system.contains(where: { $0.prefix(200).contains("cc_is_subagent=") }) { return .subagent }
    // Before the schema, which it has too: what it asks for is known.
    if system.count > 2, isHook(system[2]) { return .hook }
    let tools = body["tools"]?.array ?? []
    if tools.isEmpty, let format = body["output_config"]?["format"], !format.isNull { return .schema }
    if tools.contains(where: { $0["type"]?.string?.hasPrefix("web_search") == true }) { return .webSearch }
    if let last = request.messages.last(where: { $0["role"]?.string != "system" }), last["role"]?.string == "user" {
      // What a local command printed before may stand in front of it.
      let texts = ContentBlock.blocks(last).map(ContentBlock.text)
      if texts.contains(where: { $0.hasPrefix("CRITICAL: Respond with TEXT ONLY.") }) { return .compaction }
      if texts.contains(where: { $0.hasPrefix("<system-reminder>This is a side question") }) { return .sideQuestion }
    }
    return isFork(request.messages) ? .fork : .turn
  }

  /// `You are evaluating a hook in Claude Code`, `… a stop-condition hook in Claude Code`.
  private static func isHook(_ prompt: String) -> Bool {
    prompt.hasPrefix("You are evaluating a") && prompt.prefix(100).contains("hook in Claude Code")
  }

  private static func systemTexts(_ system: JSONValue?) -> [String] {
    switch system {
    case .string(let text)?: [text]
    case .array(let blocks)?: blocks.map { $0["text"]?.string ?? "" }
    default: []
    }
  }

  /// The client marks what it wants cached, up to the newest message of its user; where the marks end before that, the
  /// last message is a question that it does not mean to keep.
  private static func isFork(_ messages: [JSONValue]) -> Bool {
    let marked = messages.lastIndex { ContentBlock.blocks($0).contains { $0["cache_control"] != nil } }
    guard let marked, let lastUser = messages.lastIndex(where: { $0["role"]?.string == "user" }) else { return false }
    return marked < lastUser
  }
}
