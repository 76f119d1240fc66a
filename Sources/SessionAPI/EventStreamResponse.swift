import ControlPlane
import Hummingbird
import NIOCore
import SessionModel

/// A session's events as server-sent events: `id:` is the `seq`, so that a client comes back with `Last-Event-ID`.
enum EventStreamResponse {
  /// - Parameter keepAlive: how long the stream may be silent; a comment breaks the silence.
  static func make(_ events: EventSubscription, of request: Request, keepAlive: Duration) -> Response {
    Response(
      status: .ok,
      // Watching for the client's end uses up the connection.
      headers: [.contentType: "text/event-stream", .cacheControl: "no-store", .connection: "close"],
      body: ResponseBody { writer in
        try await request.body.consumeWithCancellationOnInboundClose { _ in
          // The first bytes leave at once: a client knows that it is subscribed before anything happens.
          try await writer.write(ByteBuffer(string: ": subscribed\n\n"))
          try await events.read(quietAfter: keepAlive) { batch in
            if batch.isEmpty { try await writer.write(ByteBuffer(string: ": quiet\n\n")) }
            for event in batch { try await writer.write(frame(event)) }
            return true
          }
        }
        try await writer.finish(nil)
      })
  }

  /// One frame, one write.
  static func frame(_ event: SessionEvent) -> ByteBuffer {
    var bytes = Array("id: \(event.seq)\nevent: \(event.payload.kind)\ndata: ".utf8)
    event.json.serialize(into: &bytes)
    bytes.append(contentsOf: "\n\n".utf8)
    return ByteBuffer(bytes: bytes)
  }
}
