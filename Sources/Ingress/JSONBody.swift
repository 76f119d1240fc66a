import HTTPTypes
public import Hummingbird
public import NIOCore
import NIOHTTP1
public import SessionModel

/// The JSON body of a request.
public enum JSONBody {
  /// - Parameter limit: in bytes.
  /// - Returns: nil for an empty body.
  /// - Throws: `CentaurError` with `bodyTooLarge`, `invalidJSON`, `malformedRequest`
  public static func read(_ request: Request, limit: Int) async throws -> JSONValue? {
    try parse(try await bytes(of: request, limit: limit))
  }

  /// The body as it came.
  /// - Parameter limit: in bytes.
  /// - Throws: `CentaurError` with `bodyTooLarge`, `malformedRequest`
  public static func bytes(of request: Request, limit: Int) async throws -> ByteBuffer {
    let tooLarge = CentaurError(.bodyTooLarge, "The body is larger than this server's limit of \(limit) bytes.")
    if let length = request.headers[.contentLength].flatMap(Int.init), length > limit { throw tooLarge }
    do {
      return try await request.body.collect(upTo: limit)
    } catch is NIOTooManyBytesError {
      throw tooLarge
    } catch is HTTPParserError {
      throw CentaurError(.malformedRequest, "The body's chunks cannot be told from one another.")
    }
  }

  /// - Returns: nil where there are no bytes.
  /// - Throws: `CentaurError` with `invalidJSON`
  public static func parse(_ buffer: ByteBuffer) throws(CentaurError) -> JSONValue? {
    guard buffer.readableBytes > 0 else { return nil }
    do {
      return try JSONValue(parsing: buffer.readableBytesView)
    } catch {
      throw CentaurError(.invalidJSON, "The body is not JSON: \(error).")
    }
  }
}

extension Response {
  /// A JSON answer.
  public static func json(
    _ value: JSONValue, status: HTTPResponse.Status = .ok, headers: HTTPFields = [:]
  ) -> Response {
    var headers = headers
    headers[.contentType] = "application/json"
    return Response(
      status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: value.serialized)))
  }
}
