import ControlPlane
import HTTPTypes
import Hummingbird
import Ingress
import SessionModel

/// Responses by their ids, for whoever comes back: `GET /v1/responses/{id}`, also as a stream from any event on,
/// `POST /v1/responses/{id}/cancel`, `GET /v1/responses/{id}/input_items` and `DELETE /v1/responses/{id}`.
///
/// All of it is folded from the log by what was kept with the reply: it holds across restarts, and no `GET` starts or
/// ends anything. Errors have the form for SDKs, since Codex asks for none of this.
struct KnownResponses: Sendable {
  let controlPlane: ControlPlane
  let keepAlive: Duration

  func add(to router: Router<EdgeRequestContext>) {
    let response = router.group("/v1/responses/:response_id")
    response.get { request, context in
      await answer(context) { id in
        let query = try Query(request.uri.queryParameters)
        guard query.streams else { return try await show(id, of: context.owner, to: context.client) }
        return try await stream(id, of: context.owner, after: query.startingAfter, to: context.client)
      }
    }
    response.post("/cancel") { _, context in
      await answer(context) { id in try await cancel(id, of: context.owner, for: context.client) }
    }
    response.delete { _, context in
      await answer(context) { id in
        try await controlPlane.forget(owner: context.owner, replyID: id)
        return .json(["id": .string(id), "object": "response", "deleted": true])
      }
    }
    response.get("/input_items") { request, context in
      await answer(context) { id in
        let query = try ItemQuery(request.uri.queryParameters)
        return .json(try await query.page(of: controlPlane.input(ofReply: id, owner: context.owner)))
      }
    }
  }

  private func answer(
    _ context: EdgeRequestContext, _ body: (_ id: String) async throws -> Response
  ) async -> Response {
    await ResponsesError.answering(context) { try await body(context.parameters.get("response_id") ?? "") }
  }

  private func turnAnswer<Translator: TurnTranslator>(
    _ turn: AdmittedTurn, _ translator: Translator, to client: ClientPresence
  ) -> TurnAnswer<Translator> {
    TurnAnswer(
      turn, controlPlane: controlPlane, translator: translator, client: client, keepAlive: keepAlive,
      cancelsOnDisconnect: false)
  }

  /// The response as of now.
  /// - Throws: `CentaurError` with `responseNotFound`
  func show(_ id: String, of owner: Owner, to client: ClientPresence) async throws -> Response {
    let turn = try await controlPlane.turn(owner: owner, replyID: id, isFollowed: false)
    let answer = turnAnswer(turn, ResponsesTranslator(turn), to: client)
    return .json(try await answer.folded().current, headers: answer.headers)
  }

  /// The response's events, as they were streamed the first time.
  /// - Parameter last: the number of the last one that the client has seen. One that is yet to come is waited for.
  /// - Throws: `CentaurError` with `responseNotFound`, `invalidValue` where the response is over and never had that event
  private func stream(
    _ id: String, of owner: Owner, after last: Int?, to client: ClientPresence
  ) async throws -> Response {
    let turn = try await controlPlane.turn(owner: owner, replyID: id, isFollowed: true)
    let whole = ResponsesTranslator(turn)
    if let last, turn.execution.status.isTerminal {
      let newest = try await turnAnswer(turn, whole, to: client).folded().eventCount - 1
      guard last <= newest else {
        throw CentaurError(
          .invalidValue, "The response is over, and its last event has the sequence number \(newest).",
          parameter: "starting_after")
      }
    }
    return turnAnswer(turn, ResumedTranslator(whole, after: last ?? -1), to: client)
      .stream(closing: ResponsesEvent.done)
  }

  /// Ends the response and answers when it is over. One that is over stays as it is.
  /// - Throws: `CentaurError` with `responseNotFound`, `shuttingDown`
  private func cancel(_ id: String, of owner: Owner, for client: ClientPresence) async throws -> Response {
    let turn = try await controlPlane.turn(owner: owner, replyID: id, isFollowed: true)
    if !turn.execution.status.isTerminal {
      // One that ended with calls is over; what goes on since is another response's.
      let now = try await controlPlane.turn(owner: owner, replyID: id, isFollowed: false)
      let shown = turnAnswer(now, ResponsesTranslator(now), to: client)
      let folded = try await shown.folded()
      if folded.isFinished, try await controlPlane.isFollowed(turn) {
        return .json(folded.current, headers: shown.headers)
      }
      try await controlPlane.end(turn, reason: "cancelled")
    }
    let answer = turnAnswer(turn, ResponsesTranslator(turn), to: client)
    return .json(try await answer.whole().current, headers: answer.headers)
  }

  /// The query of a `GET`. `include` and `include_obfuscation` are not looked at.
  private struct Query {
    let streams: Bool
    let startingAfter: Int?

    init(_ parameters: Parameters) throws(CentaurError) {
      switch parameters.get("stream") {
      case nil, "false": streams = false
      case "true": streams = true
      default: throw CentaurError(.invalidValue, "'stream' is one of true, false.", parameter: "stream")
      }
      guard let text = parameters.get("starting_after") else {
        startingAfter = nil
        return
      }
      guard let number = Int(text), number >= 0 else {
        throw CentaurError(
          .invalidValue, "'starting_after' must be the sequence number of an event, a whole number from 0.",
          parameter: "starting_after")
      }
      startingAfter = number
    }
  }
}

extension ResponsesTranslator {
  /// At the beginning of a reply's fold.
  /// - Parameter echo: another one than what was kept with the reply
  init(_ turn: AdmittedTurn, echo: ReplyEcho? = nil) {
    self.init(
      responseID: turn.reply.wireID, execution: turn.execution.id, createdAt: turn.reply.createdAt,
      echo: echo ?? ReplyEcho(json: turn.reply.echo), afterSeq: turn.reply.afterSeq)
  }
}
