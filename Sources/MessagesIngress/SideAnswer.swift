import SessionModel

/// What Claude Code asks for itself is answered at once, without a session and without an agent: the session owns its
/// context, so a client's compaction loses nothing, and a title needs no thought.
struct SideAnswer {
  let kind: RequestClass
  let request: MessagesRequest
  /// New for each answer.
  let id: String

  /// The answer to what a user ran in their own shell: it is kept by the client and comes with their next words.
  static let noted = "Noted."

  /// The id tells one compaction from the next: after each the client counts its messages anew, and its user may well
  /// say the same again.
  private var summary: String {
    """
    <analysis>The conversation is kept on the server, where the agent works.</analysis>
    <summary>The session continues on the server with its whole history; nothing of it has to be kept here. (\(id))</summary>
    """
  }

  var text: String {
    switch kind {
    case .turn: Self.noted
    case .probe: "ok"
    case .subagent: "This server does not run sub-agents of the client; its own agent does the whole task."
    case .schema, .hook: schemaAnswer.text
    case .webSearch: "This server's agent has no web search of the client's; ask it in the conversation."
    case .compaction: summary
    case .sideQuestion:
      "Side questions are not answered beside the conversation here: the agent works on the server. Ask it as an "
        + "ordinary message."
    case .fork: "The session continues on the server."
    }
  }

  var stopReason: String { kind == .probe ? "max_tokens" : "end_turn" }

  // MARK: Schemas

  private var schemaAnswer: JSONValue {
    let schema = request.body["output_config"]?["format"]?["schema"] ?? .null
    guard case .object(var answer) = Self.smallest(schema, depth: 0) else { return .object(JSONObject()) }
    if kind == .hook { answer["ok"] = true }
    if schema["properties"]?["title"] != nil { answer["title"] = .string(title) }
    return .object(answer)
  }

  /// The smallest value that a schema of the usual words allows.
  private static func smallest(_ schema: JSONValue, depth: Int) -> JSONValue {
    if let constant = schema["const"] { return constant }
    if let first = schema["enum"]?[0] { return first }
    switch schema["type"]?.string {
    case "string": return ""
    case "boolean": return false
    case "integer", "number": return 0
    case "array": return []
    case "null": return .null
    default:
      var object = JSONObject()
      guard depth < 8 else { return .object(object) }
      let required = (schema["required"]?.array ?? []).compactMap(\.string)
      for name in required {
        object.append(name, smallest(schema["properties"]?[name] ?? .null, depth: depth + 1))
      }
      return .object(object)
    }
  }

  /// At most 50 characters of what the user said first: Claude Code puts it between `<session>` marks.
  private var title: String {
    let asked = request.messages.last { $0["role"]?.string == "user" }.map { ContentBlock.allText($0["content"]) } ?? ""
    let start = asked.firstRange(of: "<session>")?.upperBound ?? asked.startIndex
    let end = asked[start...].firstRange(of: "</session>")?.lowerBound ?? asked.endIndex
    let words = asked[start..<end].split(whereSeparator: \.isWhitespace).joined(separator: " ")
    guard !words.isEmpty else { return "Conversation" }
    return words.count <= 50 ? words : "\(words.prefix(49))…"
  }
}
