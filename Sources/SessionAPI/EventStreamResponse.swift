import ControlPlane
import Ingress
import Hummingbird
import NIOCore
import SessionModel

/// A session's events as server-sent events: `id:` is the `seq`, so that a client comes back with `Last-Event-ID`.
enum EventStreamResponse {
  /// - Parameter keepAlive: how long the stream may be silent; a comment breaks the silence.
  static func make(_ events: EventSubscription, to client: ClientPresence, keepAlive: Duration) -> Response {
    EventStream.response { writer in
      // The first bytes leave at once: a client knows that it is subscribed before anything happens.
      try await writer.write(ByteBuffer(string: ": subscribed\n\n"))
      var watch: ClientPresence.Watch?
      defer { if let watch { client.forget(watch) } }
      try await events.read(quietAfter: keepAlive, wakes: { watch = client.onLeave($0) }) { batch in
        guard !client.hasLeft else { return false }
        guard !batch.isEmpty else {
          try await writer.write(ByteBuffer(string: ": quiet\n\n"))
          return true
        }
        var frames = FrameBatch()
        for event in batch { try await frames.add([frame(event)]) { try await writer.write(contentsOf: $0) } }
        try await frames.flush { try await writer.write(contentsOf: $0) }
        return true
      }
    }
  }

  /// One frame, one write.
  static func frame(_ event: SessionEvent) -> ByteBuffer {
    EventStream.frame(id: String(event.seq), event: event.payload.kind, data: event.json.serialized)
  }
}
