import ControlPlane
import Ingress
import SessionModel

/// Reads a classified turn into what the control plane is asked.
struct TurnReading {
  let request: ResponsesRequest
  let headers: RequestHeaders
  let metadata: CodexMetadata
  let isCodex: Bool

  init(_ request: ResponsesRequest, headers: RequestHeaders) {
    self.request = request
    self.headers = headers
    metadata = CodexMetadata(headers: headers, body: request.body)
    isCodex = headers.areCodex
  }

  /// - Throws: `CentaurError` with `emptyInput`, `threadKeyMalformed`, `threadKeyTooLong`, `invalidValue`, `unsupported`
  func turn(of owner: Owner) throws(CentaurError) -> (TurnRequest, ReplyEcho) {
    if !isCodex { try RequestFields.check(request.body) }
    let input = isCodex ? try TurnInput.ofCodex(request.input) : try TurnInput.ofSDK(request.input)
    guard !input.messages.isEmpty || !input.outputs.isEmpty else {
      throw CentaurError(.emptyInput, "The input holds no message of the user.", parameter: "input")
    }
    let items = request.input
    let historyEnd = input.tailStart
    // What stands before a compaction item is in what it stands for.
    let historyStart = isCodex ? 0 : CompactionItem.index(in: items).map { $0 + 1 } ?? 0
    let wishes = try CentaurHeaders(headers, model: request.body["model"]?.string)
    let echo = echo(input)
    var options = options(model: wishes.model)
    if !isCodex { options.tools = try FunctionTools.offered(in: request.body) }
    var turn = TurnRequest(
      owner: owner, session: try session(wishes.threadKey), client: isCodex ? .cli : .sdk, turnKey: turnKey,
      input: input.messages, outputs: input.outputs,
      abortsRunningTurn: input.isAbort, hasHistory: hasHistory(items[historyStart..<historyEnd]),
      history: { InputItem.history(items[historyStart..<historyEnd]) }, fork: try fork(input),
      harness: wishes.harness, persona: wishes.persona, instructions: instructions(input), origin: "responses",
      options: options,
      busy: wishes.busy,
      // Who is answered at once goes away by design.
      cancelsOnDisconnect: wishes.cancelsOnDisconnect && (request.streams || !request.isBackground),
      replyPrefix: "resp", echo: echo.json)
    if !isCodex {
      turn.heldItems = heldItems(historyStart..<historyEnd)
    }
    turn.addsInstructions = !turn.hasHistory && (request.body["instructions"]?.string ?? "").isEmpty
    turn.keepsReply = request.body["store"]?.bool ?? true
    if !isCodex { turn.notHonoured = NotHonoured(responses: request.body).sentence }
    return (turn, echo)
  }

  private func echo(_ input: TurnInput) -> ReplyEcho {
    let asked = request.body["reasoning"].flatMap { $0["summary"] ?? $0["generate_summary"] }
    let summary = asked.flatMap { $0.isNull ? nil : $0.string != "none" }
    return ReplyEcho(
      body: request.body, isCodex: isCodex, showsWork: summary ?? isCodex,
      showsItems: headers["x-centaur-items"] == "full" && !isCodex, heldItemIDs: input.heldItemIDs)
  }

  private func session(_ key: ThreadKey?) throws(CentaurError) -> TurnRequest.SessionChoice {
    if let conversation = request.conversationID {
      guard
        try key.map({ key throws(CentaurError) in try key == ControlPlane.key(ofConversation: conversation) }) ?? true
      else {
        throw CentaurError(
          .mutuallyExclusive, "X-Centaur-Thread-Key names another session than 'conversation'.",
          parameter: "conversation")
      }
      return .conversation(conversation)
    }
    if let key { return .key(key) }
    if isCodex, let session = metadata.sessionID, metadata.threadID ?? session == session {
      return .key(try ThreadKey("api:codex:\(session)"))
    }
    if let previous = request.body["previous_response_id"]?.string { return .continuing(replyID: previous) }
    if !isCodex, let index = CompactionItem.index(in: request.input) {
      return .compacted(
        try CompactionItem.name(request.input[index], path: "input[\(index)]"),
        parameter: "input[\(index)].encrypted_content")
    }
    return .fresh
  }

  private var turnKey: String? {
    if isCodex, let turn = metadata.turnID, !turn.isEmpty { return "codex:\(turn)" }
    return headers["idempotency-key"].map { "key:\($0)" }
  }

  private func hasHistory(_ items: ArraySlice<JSONValue>) -> Bool {
    items.contains { item in
      InputItem.isMessage(item, ["user", "assistant"]) && !ClientContext.isContext(item)
    }
  }

  /// The newest items of a history that may have been ours.
  private func heldItems(_ history: Range<Int>) -> [TurnRequest.HeldItem] {
    let items = request.input
    return history.suffix(64).compactMap { index in
      let item = items[index]
      let isMessage = item["type"] == nil || item["type"]?.string == "message"
      guard !isMessage || item["role"]?.string == "assistant",
        let id = item["call_id"]?.string ?? item["id"]?.string
      else { return nil }
      return TurnRequest.HeldItem(id: id) { InputItem.history(items[(index + 1)..<history.upperBound]) }
    }
  }

  private func fork(_ input: TurnInput) throws(CentaurError) -> TurnRequest.Fork? {
    guard let kind = metadata.historyInitialization, kind.hasSuffix("_fork"), let parent = metadata.forkedFrom else {
      return nil
    }
    return TurnRequest.Fork(parent: try ThreadKey("api:codex:\(parent)"), heldItemIDs: input.heldItemIDs)
  }

  private func instructions(_ input: TurnInput) -> String? {
    guard !isCodex else { return nil }
    let all = ([request.body["instructions"]?.string].compactMap(\.self) + input.instructions).filter { !$0.isEmpty }
    return all.isEmpty ? nil : all.joined(separator: "\n\n")
  }

  private func options(model: String?) -> TurnOptions {
    var options = TurnOptions(
      requestedModel: model, effort: effort, outputSchema: TextFields.outputSchema(request.body))
    let summary = request.body["reasoning"].flatMap { $0["summary"] ?? $0["generate_summary"] }?.string
    options.summary = summary.flatMap { ["concise", "detailed"].contains($0) ? $0 : nil }
    // Codex's is its provider's, and its provider is us.
    guard !isCodex else { return options }
    options.serviceTier = ServiceTier.asked(of: request.body)
    options.maxOutputTokens = request.body["max_output_tokens"]?.int
    options.maxToolCalls = request.body["max_tool_calls"]?.int
    return options
  }

  /// An empty one says nothing; a harness would refuse it.
  private var effort: String? { request.body["reasoning"]?["effort"]?.string.flatMap { $0.isEmpty ? nil : $0 } }
}

extension RequestHeaders {
  /// Headers that only Codex sends.
  var areCodex: Bool {
    self["session-id"] != nil || self["originator"]?.hasPrefix("codex") == true
      || names.contains { $0.hasPrefix("x-codex-") }
  }
}
