import Ingress
import Hummingbird
import NIOCore
import SessionModel

/// One event of a response's stream.
struct ResponsesEvent: WireEvent, Hashable {
  let type: String
  let data: JSONValue

  /// Its place in the stream, from 0.
  var sequence: Int { data["sequence_number"]?.int ?? 0 }

  /// One SSE frame, to be written at once. `event:` equals the data's `type`.
  var frame: ByteBuffer { EventStream.frame(event: type, data: data.serialized) }

  /// One WebSocket message: what follows `data:` in the frame.
  /// - Parameter stream: of the socket, where the request named one; then the event names it too
  func message(stream: String?) -> ByteBuffer {
    guard let stream, case .object(var object) = data else { return ByteBuffer(bytes: data.serialized) }
    object.append("stream_id", .string(stream))
    return ByteBuffer(bytes: JSONValue.object(object).serialized)
  }

  /// What ends every stream over HTTP.
  static let done = ByteBuffer(string: "data: [DONE]\n\n")

  /// A whole answer that is known at once.
  static func stream(_ events: [ResponsesEvent]) -> Response {
    EventStream.response { writer in
      try await writer.write(contentsOf: events.map(\.frame) + [done])
    }
  }
}
