public import HTTPTypes
public import Hummingbird
public import NIOCore

/// A stream of server-sent events.
public enum EventStream {
  /// What goes on while `body` writes frames, each with one `write`.
  public static func response(
    headers: HTTPFields = [:], _ body: @escaping @Sendable (inout any ResponseBodyWriter) async throws -> Void
  ) -> Response {
    var headers = headers
    headers[.contentType] = "text/event-stream"
    headers[.cacheControl] = "no-store"
    return Response(
      status: .ok, headers: headers,
      body: ResponseBody { writer in
        try await body(&writer)
        try await writer.finish(nil)
      })
  }

  /// One frame. `data` has no newline.
  public static func frame(id: String? = nil, event: String, data: [UInt8]) -> ByteBuffer {
    var buffer = ByteBuffer()
    buffer.reserveCapacity(data.count + event.utf8.count + 48)
    if let id { buffer.writeString("id: \(id)\n") }
    buffer.writeString("event: \(event)\ndata: ")
    buffer.writeBytes(data)
    buffer.writeString("\n\n")
    return buffer
  }
}
