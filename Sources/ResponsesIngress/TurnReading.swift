import ControlPlane
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
  func turn() throws(CentaurError) -> (TurnRequest, ReplyEcho) {
    let input = isCodex ? try TurnInput.ofCodex(request.input) : try TurnInput.ofSDK(request.input)
    guard !input.messages.isEmpty else {
      throw CentaurError(.emptyInput, "The input holds no message of the user.", parameter: "input")
    }
    let items = request.input
    let historyEnd = input.tailStart
    let model = request.body["model"]?.string
    let persona = headers["x-centaur-persona"] ?? model.flatMap(Self.persona)
    let echo = echo(input)
    let turn = TurnRequest(
      session: try session(), client: isCodex ? .cli : .sdk, turnKey: turnKey, input: input.messages,
      abortsRunningTurn: input.isAbort, hasHistory: hasHistory(before: historyEnd),
      history: { InputItem.history(items[..<historyEnd]) }, fork: try fork(input),
      harness: headers["x-centaur-harness"].map(HarnessName.init(rawValue:)), persona: persona,
      instructions: instructions(input), origin: "responses",
      options: TurnOptions(
        requestedModel: model.flatMap { Self.persona($0) == nil ? $0 : nil },
        effort: request.body["reasoning"]?["effort"]?.string, outputSchema: outputSchema),
      busy: try choice("x-centaur-busy"), cancelsOnDisconnect: headers["x-centaur-on-disconnect"] == "cancel",
      replyPrefix: "resp", echo: echo.json)
    return (turn, echo)
  }

  private func echo(_ input: TurnInput) -> ReplyEcho {
    let summary = request.body["reasoning"]?["summary"].map { !$0.isNull } ?? false
    return ReplyEcho(
      body: request.body, isCodex: isCodex, showsWork: summary || metadata.isLite,
      showsItems: headers["x-centaur-items"] == "full" && !isCodex, heldItemIDs: input.heldItemIDs)
  }

  private func session() throws(CentaurError) -> TurnRequest.SessionChoice {
    if let key = headers["x-centaur-thread-key"] { return .key(try ThreadKey(key)) }
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

  private var outputSchema: JSONValue? {
    guard let format = request.body["text"]?["format"], format["type"]?.string == "json_schema" else { return nil }
    return format["schema"]
  }

  private func choice(_ name: String) throws(CentaurError) -> TurnRequest.BusyPolicy? {
    guard let text = headers[name] else { return nil }
    guard let policy = TurnRequest.BusyPolicy(rawValue: text) else {
      let choices = TurnRequest.BusyPolicy.allCases.map(\.rawValue).joined(separator: ", ")
      throw CentaurError(.invalidValue, "\(name) is one of \(choices).", parameter: name)
    }
    return policy
  }

  private static func persona(_ model: String) -> String? {
    let prefix = "centaur/"
    return model.hasPrefix(prefix) ? String(model.dropFirst(prefix.count)) : nil
  }
}
