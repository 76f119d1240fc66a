import NIOCore
import SessionModel

/// One event of a response's stream.
struct ResponsesEvent: Sendable, Hashable {
  let type: String
  let data: JSONValue

  /// One SSE frame, to be written at once. `event:` equals the data's `type`.
  func appendFrame(to buffer: inout ByteBuffer) {
    var bytes = Array("event: \(type)\ndata: ".utf8)
    data.serialize(into: &bytes)
    bytes.append(contentsOf: "\n\n".utf8)
    buffer.writeBytes(bytes)
  }

  /// What ends every stream over HTTP.
  static let done = ByteBuffer(string: "data: [DONE]\n\n")
}
