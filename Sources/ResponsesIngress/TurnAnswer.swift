import ControlPlane
import HTTPTypes
import Hummingbird
import NIOCore
import SessionModel

/// The answer to one request: the turn's events, folded, as a stream or as one body.
struct TurnAnswer: Sendable {
  let admitted: AdmittedTurn
  let controlPlane: ControlPlane
  /// Of this request: one that comes back may hold more items than the first did.
  let echo: ReplyEcho
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
  func stream(_ request: Request) -> Response {
    var headers = headers
    headers[.contentType] = "text/event-stream"
    headers[.cacheControl] = "no-store"
    // Watching for the client's end uses up the connection.
    headers[.connection] = "close"
    return Response(
      status: .ok, headers: headers,
      body: ResponseBody { writer in
        var translator = translator
        do {
          try await request.body.consumeWithCancellationOnInboundClose { _ in
            try await write(translator.start(), to: &writer)
            try await admitted.events.read(quietAfter: keepAlive) { batch in
              if batch.isEmpty { try await write([translator.keepAlive], to: &writer) }
              for event in batch { try await write(translator.fold(event), to: &writer) }
              return !translator.isFinished
            }
          }
        } catch {
          await left(translator)
          throw error
        }
        guard translator.isFinished else { throw CutShort() }
        try await writer.write(ResponsesEvent.done)
        try await writer.finish(nil)
      })
  }

  /// The log's tail ended before the turn did: the server is going down. The client sees a cut, and comes back.
  private struct CutShort: Error {}

  /// The client went away. The turn goes on, unless the client had asked otherwise.
  private func left(_ translator: ResponsesTranslator) async {
    guard cancelsOnDisconnect, !translator.isFinished else { return }
    await controlPlane.cancel(admitted, reason: "client_disconnected")
  }

  private func write(_ events: [ResponsesEvent], to writer: inout any ResponseBodyWriter) async throws {
    for event in events {
      var buffer = ByteBuffer()
      event.appendFrame(to: &buffer)
      try await writer.write(buffer)
    }
  }

  /// Answers when the turn has ended.
  /// - Throws: `CentaurError` where it failed
  func whole(_ request: Request) async throws -> Response {
    let translator =
      cancelsOnDisconnect
      ? try await request.body.consumeWithCancellationOnInboundClose { _ in try await ended() } : try await ended()
    var headers = headers
    if cancelsOnDisconnect { headers[.connection] = "close" }
    switch translator.outcome {
    case .failed(let failure)?: throw CentaurError(failure)
    case .completed?, .cancelled?: return ResponsesRoutes.json(translator.response, headers: headers)
    case nil:
      throw CentaurError(.shuttingDown, "The server is shutting down. Try again shortly.", retryAfter: .seconds(2))
    }
  }

  private func ended() async throws -> ResponsesTranslator {
    var translator = translator
    _ = translator.start()
    do {
      for try await batch in admitted.events {
        for event in batch { _ = translator.fold(event) }
        if translator.isFinished { break }
      }
      try Task.checkCancellation()
    } catch {
      await left(translator)
      throw error
    }
    return translator
  }
}

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
