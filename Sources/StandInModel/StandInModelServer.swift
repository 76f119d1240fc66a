import FoundationEssentials
import HTTPTypes
import Hummingbird
public import Logging
import NIOCore
import SessionModel
import Synchronization

/// A scripted model behind the two model APIs, for the demo and the tests. Each answer says that it is scripted
/// (`x-stand-in-model: scripted`).
///
/// `POST /v1/responses`, `POST /v1/messages`, `POST /v1/messages/count_tokens`, `GET /v1/models`; for tests
/// `GET /requests` (what was asked so far) and `DELETE /requests`.
public struct StandInModelServer: Sendable {
  private let host: String
  private let port: Int
  private let onListening: @Sendable (Int) async -> Void
  private let logger: Logger
  private let memory = Memory()

  /// What the server remembers. The lock is never held across an await.
  private final class Memory: Sendable {
    struct State {
      var requests: [JSONValue] = []
      /// Begins with the time: a conversation that outlives this server must not meet the ids of its answers again
      /// (Claude Code takes a tool call whose id it knows for one that was interrupted).
      var answers = Int(Date().timeIntervalSince1970 * 1000)
      /// How often a step of a script has refused.
      var refusals: [String: Int] = [:]
    }
    let state = Mutex(State())
  }

  /// As many requests are remembered.
  private static let remembered = 200

  /// - Parameters:
  ///   - port: 0 takes a free one.
  ///   - onListening: is told the port.
  public init(
    host: String, port: Int, logger: Logger, onListening: @escaping @Sendable (_ port: Int) async -> Void
  ) {
    self.host = host
    self.port = port
    self.logger = logger
    self.onListening = onListening
  }

  /// Serves until it is told to end.
  /// - Throws: when the address cannot be used
  public func run() async throws {
    var logger = logger
    logger.logLevel = max(logger.logLevel, .warning)
    let application = Application(
      router: router(), configuration: .init(address: .hostname(host, port: port), serverName: nil),
      onServerRunning: { channel in await onListening(channel.localAddress?.port ?? 0) }, logger: logger)
    try await application.run()
  }

  private func router() -> Router<BasicRequestContext> {
    let router = Router(context: BasicRequestContext.self)
    router.post("/v1/responses") { request, _ in
      try await answer(request) {
        ModelRequest(responses: $0, bytes: $1)
      } write: {
        ResponsesAnswer.write($0, $1, number: $2)
      }
    }
    router.post("/v1/messages") { request, _ in
      try await answer(request) {
        ModelRequest(messages: $0, bytes: $1)
      } write: {
        MessagesAnswer.write($0, $1, number: $2)
      }
    }
    router.post("/v1/messages/count_tokens") { request, _ in
      let body = try await read(request)
      return json(["input_tokens": JSONValue(max(1, body.text.utf8.count / 4))])
    }
    router.get("/v1/models") { _, _ in
      json([
        "object": "list",
        "data": [["id": "stand-in", "object": "model", "created": 0, "owned_by": "a script, not an intelligence"]],
      ])
    }
    router.get("/requests") { _, _ in json(["data": .array(memory.state.withLock { $0.requests })]) }
    router.delete("/requests") { _, _ in
      memory.state.withLock { $0.requests = [] }
      return Response(status: .noContent)
    }
    return router
  }

  private func read(_ request: Request) async throws -> JSONValue {
    let buffer = try await request.body.collect(upTo: 256 << 20)
    let body = (try? JSONValue(parsing: buffer.readableBytesView)) ?? .null
    var headers = JSONObject()
    for field in request.headers { headers.append(field.name.canonicalName, .string(field.value)) }
    let record: JSONValue = ["path": .string(request.uri.path), "headers": .object(headers), "body": body]
    memory.state.withLock { state in
      state.requests.append(record)
      if state.requests.count > Self.remembered { state.requests.removeFirst() }
    }
    return body
  }

  private func answer(
    _ request: Request, _ reading: (JSONValue, Int) -> ModelRequest,
    write: (Utterance, ModelRequest, Int) -> WrittenAnswer
  ) async throws -> Response {
    let body = try await read(request)
    let asked = reading(body, body.text.utf8.count)
    let script = Script(asked.text)
    let key = "\(asked.conversation)/\(asked.userTexts.count)/\(asked.text)"
    let (utterance, number) = memory.state.withLock { state -> (Utterance, Int) in
      state.answers += 1
      let (utterance, step) = script.utterance(asked) { state.refusals["\(key)/\($0)", default: 0] }
      if utterance.refusal != nil { state.refusals["\(key)/\(step)", default: 0] += 1 }
      return (utterance, state.answers)
    }
    if let refusal = utterance.refusal { return refused(refusal, asked) }
    let written = write(utterance, asked, number)
    guard asked.streams else {
      if let hang = utterance.hang { try await Task.sleep(for: hang) }
      if utterance.drops { return cut(written.body) }
      return json(written.body, status: HTTPResponse.Status(code: written.status))
    }
    return Response(
      status: .ok, headers: headers("text/event-stream"),
      body: ResponseBody { writer in
        for (index, frame) in written.frames.enumerated() {
          if index == written.cutAfter { throw ScriptedDrop() }
          if frame.pause > .zero { try await Task.sleep(for: frame.pause) }
          try await writer.write(ByteBuffer(bytes: frame.bytes))
        }
        try await writer.finish(nil)
      })
  }

  private struct ScriptedDrop: Error {}

  /// An answer whose connection is cut in the middle of its body: a harness may ask again without streaming.
  private func cut(_ value: JSONValue) -> Response {
    let bytes = value.serialized
    return Response(
      status: .ok, headers: headers("application/json"),
      body: ResponseBody { writer in
        try await writer.write(ByteBuffer(bytes: bytes.prefix(bytes.count / 2)))
        throw ScriptedDrop()
      })
  }

  private func refused(_ refusal: Utterance.Refusal, _ asked: ModelRequest) -> Response {
    let error: JSONValue = [
      "type": .string(refusal.type), "code": JSONValue(refusal.code), "message": .string(refusal.message),
    ]
    return json(
      asked.isMessages ? ["type": "error", "error": error] : ["error": error],
      status: HTTPResponse.Status(code: refusal.status))
  }

  private func headers(_ type: String) -> HTTPFields {
    var headers: HTTPFields = [.contentType: type]
    if let name = HTTPField.Name("x-stand-in-model") { headers[name] = "scripted" }
    return headers
  }

  private func json(_ value: JSONValue, status: HTTPResponse.Status = .ok) -> Response {
    Response(
      status: status, headers: headers("application/json"),
      body: ResponseBody(byteBuffer: ByteBuffer(bytes: value.serialized)))
  }
}
