import Ingress
import SessionModel

/// What Codex says about a request beside its input (Codex 0.163.0, wire/codex-client.md §2): headers, the JSON in
/// `x-codex-turn-metadata`, and `client_metadata`. Everything is optional, and whatever is unreadable counts as absent.
struct CodexMetadata: Sendable {
  let sessionID: String?
  let threadID: String?
  let turnID: String?
  let requestKind: String?
  let threadSource: String?
  let subagentKind: String?
  let historyInitialization: String?
  let forkedFrom: String?
  let isSubagent: Bool

  init(headers: RequestHeaders, body: JSONValue) {
    let client = body["client_metadata"] ?? .null
    let turn =
      Self.json(headers["x-codex-turn-metadata"]) ?? Self.json(client["x-codex-turn-metadata"]?.string) ?? .null
    sessionID = headers["session-id"] ?? client["session_id"]?.string ?? turn["session_id"]?.string
    threadID = headers["thread-id"] ?? client["thread_id"]?.string ?? turn["thread_id"]?.string
    turnID = turn["turn_id"]?.string ?? client["turn_id"]?.string
    requestKind = turn["request_kind"]?.string
    threadSource = turn["thread_source"]?.string
    subagentKind = turn["subagent_kind"]?.string
    historyInitialization = turn["history_initialization"]?.string
    forkedFrom = turn["forked_from_thread_id"]?.string
    isSubagent = headers["x-openai-subagent"] != nil || client["x-openai-subagent"] != nil
  }

  private static func json(_ text: String?) -> JSONValue? {
    guard let text, text.hasPrefix("{") else { return nil }
    return try? JSONValue(parsing: text)
  }
}
