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
    let input = isCodex ? try TurnInput.ofCodex(request.input) : try TurnInput.ofSDK(request.input)
    guard !input.messages.isEmpty || !input.outputs.isEmpty else {
      throw CentaurError(.emptyInput, "The input holds no message of the user.", parameter: "input")
    }
    let items = request.input
    let historyEnd = input.tailStart
    let wishes = try CentaurHeaders(headers, model: request.body["model"]?.string)
    let echo = echo(input)
    var options = TurnOptions(requestedModel: wishes.model, effort: effort, outputSchema: outputSchema)
    if !isCodex { options.tools = try FunctionTools.offered(in: request.body) }
    let turn = TurnRequest(
      owner: owner, session: try session(wishes.threadKey), client: isCodex ? .cli : .sdk, turnKey: turnKey,
      input: input.messages, outputs: input.outputs,
      abortsRunningTurn: input.isAbort, hasHistory: hasHistory(before: historyEnd),
      history: { InputItem.history(items[..<historyEnd]) }, fork: try fork(input),
      harness: wishes.harness, persona: wishes.persona, instructions: instructions(input), origin: "responses",
      options: options,
      busy: wishes.busy, cancelsOnDisconnect: wishes.cancelsOnDisconnect, replyPrefix: "resp", echo: echo.json)
    return (turn, echo)
  }

  private func echo(_ input: TurnInput) -> ReplyEcho {
    let summary = request.body["reasoning"]?["summary"].flatMap { $0.isNull ? nil : $0.string != "none" }
    return ReplyEcho(
      body: request.body, isCodex: isCodex, showsWork: summary ?? isCodex,
      showsItems: headers["x-centaur-items"] == "full" && !isCodex, heldItemIDs: input.heldItemIDs)
  }

  private func session(_ key: ThreadKey?) throws(CentaurError) -> TurnRequest.SessionChoice {
    if let key { return .key(key) }
    if isCodex, let session = metadata.sessionID, metadata.threadID ?? session == session {
      return .key(try ThreadKey("api:codex:\(session)"))
    }
    if let previous = request.body["previous_response_id"]?.string { return .continuing(replyID: previous) }
    return .fresh
  }

  private var turnKey: String? {
    if isCodex, let turn = metadata.turnID, !turn.isEmpty { return "codex:\(turn)" }
    return headers["idempotency-key"].map { "key:\($0)" }
  }

  private func hasHistory(before end: Int) -> Bool {
    request.input[..<end].contains { item in
      InputItem.isMessage(item, ["user", "assistant"]) && !ClientContext.isContext(item)
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
    let all = [request.body["instructions"]?.string].compactMap(\.self) + input.instructions
    return all.isEmpty ? nil : all.joined(separator: "\n\n")
  }

  /// An empty one says nothing; a harness would refuse it.
  private var effort: String? { request.body["reasoning"]?["effort"]?.string.flatMap { $0.isEmpty ? nil : $0 } }

  private var outputSchema: JSONValue? {
    guard let format = request.body["text"]?["format"], format["type"]?.string == "json_schema" else { return nil }
    return format["schema"]
  }
}

extension RequestHeaders {
  /// Headers that only Codex sends.
  var areCodex: Bool {
    self["session-id"] != nil || self["originator"]?.hasPrefix("codex") == true
      || names.contains { $0.hasPrefix("x-codex-") }
  }
}
