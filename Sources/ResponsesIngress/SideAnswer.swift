import SessionModel

/// What Codex asks for itself is answered at once, without a session and without an agent: the session owns its
/// context, so a client's compaction loses nothing, and a title needs no thought.
struct SideAnswer {
  let kind: RequestClass
  let request: ResponsesRequest
  let object: ResponseObject

  init(_ kind: RequestClass, _ reading: TurnReading, responseID: String, now: Timestamp) {
    self.kind = kind
    request = reading.request
    let echo = ReplyEcho(
      body: request.body, isCodex: reading.isCodex, showsWork: false, showsItems: false,
      heldItemIDs: [])
    object = ResponseObject(id: responseID, createdAt: now, echo: echo)
  }

  /// The whole answer. Its usage is small: Codex counts it until the next turn's.
  func events() -> (events: [ResponsesEvent], response: JSONValue) {
    var writer = OutputWriter(held: [])
    let begun = object.json(status: "in_progress")
    var events = [
      writer.event("response.created", [("response", begun)]),
      writer.event("response.in_progress", [("response", begun)]),
    ]
    let id = object.id.dropFirst("resp_".count)
    if kind == .compactionItem {
      events += writer.item([
        "type": "compaction", "id": .string("cmp_\(id)"), "encrypted_content": .string(Self.compaction),
      ])
    } else if let text {
      events += writer.openMessage("msg_\(id)", phase: "final_answer") + writer.addText(text)
      events += writer.closeMessage(phase: "final_answer")
    }
    let usage = Usage(input: 1, output: 1)
    let response = object.json(
      status: "completed", output: writer.output, completedAt: object.createdAt,
      usage: TurnUsage(last: usage, sum: usage, modelCalls: 0))
    events.append(writer.event("response.completed", [("response", response)]))
    return (events, response)
  }

  private static let compaction =
    "The conversation continues on the server, where its whole history is kept; nothing of it is needed here."

  private var text: String? {
    switch kind {
    case .turn, .prewarm, .toolFollowUp, .compactionItem: nil
    case .compaction: Self.compaction
    case .title: JSONValue.object(JSONObject([("title", .string(title))])).text
    case .review:
      "This server does not run reviews beside the conversation. Ask for the review as an ordinary message: the agent "
        + "works in its own workspace on the server."
    case .subagent:
      "This server does not run sub-agents of the client; its own agent does the whole task."
    }
  }

  /// At most 36 characters of what the user said first.
  private var title: String {
    let said = request.input.last { InputItem.isMessage($0, ["user"]) && !ClientContext.isContext($0) }
    let prompt = said.map(InputItem.firstText) ?? ""
    // Codex puts its own instructions before the user's words.
    let words = prompt.split(separator: "\n", omittingEmptySubsequences: true).last.map(String.init) ?? ""
    let line = words.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    guard !line.isEmpty else { return "Conversation" }
    return line.count <= 36 ? line : "\(line.prefix(35))…"
  }
}
