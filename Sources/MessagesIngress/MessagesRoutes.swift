public import ControlPlane
import HTTPTypes
public import Hummingbird
public import Ingress
import Logging
import NIOCore
public import SessionModel

/// `POST /v1/messages` and `/v1/messages/count_tokens`, for Claude Code and Anthropic's SDKs.
public struct MessagesRoutes: Sendable {
  private let controlPlane: ControlPlane
  private let ids: IdentifierSource
  private let bodyLimit: Int
  private let keepAlive: Duration

  /// - Parameters:
  ///   - bodyLimit: of a request, in bytes
  ///   - keepAlive: how long a stream may be silent; Claude Code gives up after 300 s without a byte
  public init(controlPlane: ControlPlane, ids: IdentifierSource, bodyLimit: Int, keepAlive: Duration) {
    self.controlPlane = controlPlane
    self.ids = ids
    self.bodyLimit = bodyLimit
    self.keepAlive = keepAlive
  }

  public func add(to router: Router<EdgeRequestContext>) {
    router.post("/v1/messages") { request, context in
      await told(request, context) { try await respond($0, request, context) }
    }
    router.post("/v1/messages/count_tokens") { request, context in
      await told(request, context) { headers in
        let body = try MessagesRequest(try json(in: try await JSONBody.bytes(of: request, limit: bodyLimit), request))
        if !headers.areClaudeCode { try ContentBlock.checkContents(of: body.messages) }
        return .json(["input_tokens": JSONValue(MessagesTokens.tokens(of: body.body))])
      }
    }
    // Claude Code looks whether somebody is there.
    for path in ["/", "/api/hello"] {
      router.head(RouterPath(path)) { _, _ in Response(status: .ok) }
    }
    router.get("/") { _, _ in Response.json(["service": "centaur"]) }
  }

  private func json(in bytes: ByteBuffer, _ request: Request) throws -> JSONValue {
    guard let json = try JSONBody.parse(bytes, request.headers) else {
      throw CentaurError(.invalidJSON, "The body is empty.")
    }
    return json
  }

  /// Runs `body`, and says what went wrong in this dialect.
  private func told(
    _ request: Request, _ context: EdgeRequestContext, _ body: (RequestHeaders) async throws -> Response
  ) async -> Response {
    let headers = RequestHeaders(request.headers)
    do {
      return try await body(headers)
    } catch is ClientLeft {
      return Response(status: .badRequest)
    } catch {
      if !(error is CentaurError) { context.logger.error("a request failed", metadata: ["error": "\(error)"]) }
      return MessagesError.response(
        CentaurError(caught: error), isClaudeCode: headers.areClaudeCode, requestID: context.requestID)
    }
  }

  private func respond(
    _ headers: RequestHeaders, _ request: Request, _ context: EdgeRequestContext
  ) async throws -> Response {
    let bytes = try await JSONBody.bytes(of: request, limit: bodyLimit)
    let body = try MessagesRequest(try json(in: bytes, request))
    let reading = TurnReading(body, headers: headers)
    if reading.isClaudeCode {
      let kind = RequestClass.of(body, headers)
      guard kind == .turn else { return sideAnswer(kind, body) }
    }
    let input = try reading.input()
    guard !input.isShellOnly else { return sideAnswer(.turn, body) }
    var (turn, asked) = try reading.turn(input, of: context.owner)
    if !reading.isClaudeCode {
      turn.sent = SentRequest(headers, route: "/v1/messages", owner: context.owner, body: bytes)
    }
    let admitted = try await controlPlane.submit(turn, within: context.caller.allowance)
    let echo = admitted.isToldOn ? reading.echo(input, held: input.heldTexts) : asked
    // The echo is this request's: one that comes back may hold more of the answer than the first did.
    let translator = MessagesTranslator(
      messageID: admitted.reply.wireID, execution: admitted.execution.id, echo: echo,
      afterSeq: admitted.reply.afterSeq)
    let answer = TurnAnswer(
      admitted, controlPlane: controlPlane, translator: translator, client: await context.client,
      keepAlive: keepAlive, cancelsOnDisconnect: turn.cancelsOnDisconnect)
    guard !body.streams else {
      try await answer.untilBegun()
      return answer.stream().telling(admitted)
    }
    let whole = try await answer.whole()
    guard case .failed(let failure)? = whole.outcome else {
      return Response.json(whole.response, headers: answer.headers).telling(admitted)
    }
    var failed = MessagesError.response(
      CentaurError(failure), isClaudeCode: reading.isClaudeCode, requestID: context.requestID)
    failed.headers.append(contentsOf: answer.headers)
    return failed.telling(admitted)
  }

  private func sideAnswer(_ kind: RequestClass, _ body: MessagesRequest) -> Response {
    let id = "\(ids.thread())"
    let answer = SideAnswer(kind: kind, request: body, id: id)
    let object = MessageObject(id: "msg_side_\(id)", model: body.model)
    let usage = MessageObject.usage(
      TurnUsage(last: Usage(input: 1, output: 1), sum: Usage(input: 1, output: 1), modelCalls: 1), isClamped: true)
    var writer = BlockWriter(held: [])
    var events = [
      MessagesEvent("message_start", [("message", object.json(content: [], stopReason: nil, usage: usage))])
    ]
    events += writer.text(answer.text)
    guard body.streams else {
      return .json(object.json(content: writer.content, stopReason: answer.stopReason, usage: usage))
    }
    let delta: JSONValue = ["stop_reason": .string(answer.stopReason), "stop_sequence": .null]
    events += [MessagesEvent("message_delta", [("delta", delta), ("usage", usage)]), MessagesEvent("message_stop")]
    let written = events
    return EventStream.response { writer in
      try await writer.write(contentsOf: written.map(\.frame))
    }
  }
}
