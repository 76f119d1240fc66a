import ControlPlane
import Ingress
import SessionModel

/// Reads a request into what it is, and a turn into what the control plane is asked.
struct TurnReading {
  let request: MessagesRequest
  let headers: RequestHeaders
  let isClaudeCode: Bool
  /// Claude Code's own session.
  private let clientSession: String?

  static let structuredOutput = "StructuredOutput"

  init(_ request: MessagesRequest, headers: RequestHeaders) {
    self.request = request
    self.headers = headers
    isClaudeCode = headers.areClaudeCode
    clientSession = headers["x-claude-code-session-id"] ?? Self.session(in: request.body["metadata"])
  }

  /// The client writes a JSON text into `metadata.user_id`; it is there where a proxy dropped the header.
  private static func session(in metadata: JSONValue?) -> String? {
    guard let text = metadata?["user_id"]?.string, text.hasPrefix("{") else { return nil }
    return (try? JSONValue(parsing: text))?["session_id"]?.string
  }

  /// - Throws: `CentaurError` with `unsupported`, `missingField`, `invalidValue`
  func input() throws(CentaurError) -> TurnInput {
    guard isClaudeCode else {
      try ContentBlock.checkContents(of: request.messages)
      return try TurnInput.ofSDK(request.messages)
    }
    return try TurnInput.ofClaudeCode(request.messages, clientSession: clientSession ?? "")
  }

  /// - Throws: `CentaurError` with `emptyInput`, `threadKeyMalformed`, `threadKeyTooLong`, `invalidValue`, `missingField`
  func turn(_ input: TurnInput, of owner: Owner) throws(CentaurError) -> (TurnRequest, MessagesEcho) {
    guard !input.messages.isEmpty || input.continues || !input.outputs.isEmpty else {
      throw CentaurError(.emptyInput, "The messages hold no input of the user.", parameter: "messages")
    }
    let wishes = try CentaurHeaders(headers, model: request.body["model"]?.string)
    // Of a turn that begins nothing is held yet.
    let echo = echo(input, held: input.continues ? input.heldTexts : [])
    let earlier = Array(request.messages[..<input.start])
    let isClaudeCode = isClaudeCode
    var options = TurnOptions(
      requestedModel: wishes.model, effort: effort, outputSchema: outputSchema, conversation: input.conversation,
      messagesBefore: input.messagesBefore)
    if !isClaudeCode {
      options.tools = try OfferedTools.read(request.body)
      try AnswerForm.check(request.body)
    }
    var turn = TurnRequest(
      owner: owner, session: try session(wishes.threadKey), client: isClaudeCode ? .cli : .sdk,
      turnKey: headers["idempotency-key"].map { "key:\($0)" }, input: input.messages, outputs: input.outputs,
      isOneMessage: true,
      continues: input.continues, repeatsFailedTurns: isClaudeCode,
      heldAnswer: input.isResent ? input.heldTexts.last : nil, abortsRunningTurn: input.isAbort,
      hasHistory: !earlier.isEmpty, history: { ContentBlock.history(earlier, isClaudeCode: isClaudeCode) },
      harness: wishes.harness, persona: wishes.persona, instructions: instructions, origin: "messages",
      options: options, busy: wishes.busy, cancelsOnDisconnect: wishes.cancelsOnDisconnect, replyPrefix: "msg",
      echo: echo.json)
    turn.addsInstructions = earlier.isEmpty && ContentBlock.allText(request.body["system"]).isEmpty
    if !isClaudeCode {
      turn.heldItems = Self.heldItems(earlier)
      turn.notHonoured = NotHonoured(messages: request.body).sentence
    }
    return (turn, echo)
  }

  /// The newest blocks of a history that may have been ours: thinking by its signature, calls by their ids.
  private static func heldItems(_ earlier: [JSONValue]) -> [TurnRequest.HeldItem] {
    earlier.indices.suffix(64).flatMap { index in
      ContentBlock.blocks(earlier[index]).enumerated().compactMap { number, block in
        (block["signature"] ?? block["id"] ?? block["tool_use_id"])?.string.map { id in
          TurnRequest.HeldItem(id: id) {
            ContentBlock.history(behind(number, of: earlier[index]) + earlier[(index + 1)...], isClaudeCode: false)
          }
        }
      }
    }
  }

  /// What the user said in a message behind one of its blocks. An answer's other blocks are of the same turn as that one.
  private static func behind(_ number: Int, of message: JSONValue) -> [JSONValue] {
    guard message["role"]?.string == "user" else { return [] }
    return [["role": "user", "content": .array(Array(ContentBlock.blocks(message)[(number + 1)...]))]]
  }

  func echo(_ input: TurnInput, held: [String]) -> MessagesEcho {
    let thinking = request.body["thinking"]?["type"]?.string
    let showsThinking = thinking != nil && thinking != "disabled"
    return MessagesEcho(
      model: request.model, isClaudeCode: isClaudeCode, showsThinking: showsThinking,
      showsWork: isClaudeCode || showsThinking, hasStructuredOutput: isClaudeCode && structuredOutput != nil,
      heldTexts: held)
  }

  private func session(_ key: ThreadKey?) throws(CentaurError) -> TurnRequest.SessionChoice {
    if let key { return .key(key) }
    if let clientSession { return .key(try ThreadKey("api:claude:\(clientSession)")) }
    // The SDK's tool runner keeps the conversation on the server (beta message-threads-2026-08-12).
    let thread = request.body["thread"] ?? .null
    if thread["type"]?.string == "continue", let previous = thread["previous_message_id"]?.string {
      return .continuing(replyID: previous)
    }
    return .fresh
  }

  /// What Claude Code puts into `system` is its own prompt.
  private var instructions: String? {
    guard !isClaudeCode else { return nil }
    let system = ContentBlock.allText(request.body["system"])
    let said = request.messages.filter { $0["role"]?.string == "system" }.map { ContentBlock.allText($0["content"]) }
    let all = ([system] + said).filter { !$0.isEmpty }
    return all.isEmpty ? nil : all.joined(separator: "\n\n")
  }

  /// An empty one says nothing; a harness would refuse it.
  private var effort: String? { request.body["output_config"]?["effort"]?.string.flatMap { $0.isEmpty ? nil : $0 } }

  private var structuredOutput: JSONValue? {
    (request.body["tools"]?.array ?? []).first { $0["name"]?.string == Self.structuredOutput }
  }

  private var outputSchema: JSONValue? {
    if isClaudeCode, let tool = structuredOutput { return tool["input_schema"] }
    guard let form = AnswerForm.of(request.body)?.form, form["type"]?.string == "json_schema" else { return nil }
    return form["schema"]
  }
}

extension RequestHeaders {
  /// Headers that only Claude Code sends, and its own name.
  var areClaudeCode: Bool {
    self["x-claude-code-session-id"] != nil || self["user-agent"]?.hasPrefix("claude-cli/") == true
  }
}
