import ControlPlane
import Ingress
import HTTPTypes
import Hummingbird
import SessionModel

/// The answer to one request: the turn's events, folded, as a stream or as one body.
struct TurnAnswer: Sendable {
  let admitted: AdmittedTurn
  let controlPlane: ControlPlane
  /// Of this request: one that comes back may hold more items than the first did.
  let echo: ReplyEcho
  let client: ClientPresence
  let keepAlive: Duration
  let cancelsOnDisconnect: Bool

  private var translator: ResponsesTranslator {
    ResponsesTranslator(
      responseID: admitted.reply.wireID, execution: admitted.execution.id, createdAt: admitted.reply.createdAt,
      echo: echo)
  }

  private var headers: HTTPFields {
    var headers = HTTPFields()
    if let name = HTTPField.Name("X-Centaur-Thread-Key") { headers[name] = admitted.session.key.headerValue }
    return headers
  }

  /// Headers and the first events leave at once.
  func stream() -> Response {
    EventStream.response(headers: headers) { writer in
      var translator = translator
      try await write(translator.start(), to: &writer)
      try await follow { batch in
        if batch.isEmpty { try await write([translator.keepAlive], to: &writer) }
        for event in batch { try await write(translator.fold(event), to: &writer) }
        return !translator.isFinished
      }
      // The log's tail ended before the turn did: the server is going down. The client sees a cut, and comes back.
      guard translator.isFinished else { throw CutShort() }
      try await writer.write(ResponsesEvent.done)
    }
  }

  private struct CutShort: Error {}

  private func write(_ events: [ResponsesEvent], to writer: inout any ResponseBodyWriter) async throws {
    for event in events { try await writer.write(event.frame) }
  }

  /// Answers when the turn has ended.
  /// - Throws: `CentaurError` where it failed
  func whole() async throws -> Response {
    var translator = translator
    _ = translator.start()
    try await follow { batch in
      for event in batch { _ = translator.fold(event) }
      return !translator.isFinished
    }
    switch translator.outcome {
    case .failed(let failure)?: throw CentaurError(failure)
    case .completed?, .cancelled?: return .json(translator.response, headers: headers)
    case nil:
      throw CentaurError(.shuttingDown, "The server is shutting down. Try again shortly.", retryAfter: .seconds(2))
    }
  }

  /// Reads the turn's events until `body` has enough or the client goes away. Then the turn goes on, unless the client
  /// had asked otherwise.
  private func follow(_ body: ([SessionEvent]) async throws -> Bool) async throws {
    defer { client.onLeave(nil) }
    do {
      try await admitted.events.read(quietAfter: keepAlive, wakes: client.onLeave) { batch in
        guard !client.hasLeft else { throw ClientLeft() }
        return try await body(batch)
      }
    } catch {
      if cancelsOnDisconnect, client.hasLeft { await controlPlane.cancel(admitted, reason: "client_disconnected") }
      throw error
    }
  }
}

/// Nobody is there to read the answer.
struct ClientLeft: Error {}

extension ThreadKey {
  /// A header holds ASCII; what is not is percent-encoded.
  var headerValue: String {
    var value = ""
    for byte in rawValue.utf8 {
      if (0x20...0x7E).contains(byte) {
        value.unicodeScalars.append(Unicode.Scalar(byte))
      } else {
        let digits = String(byte, radix: 16, uppercase: true)
        value += "%" + (digits.count == 1 ? "0" : "") + digits
      }
    }
    return value
  }
}
