import HTTPTypes
public import Hummingbird
import NIOCore
import NIOHTTP1
public import SessionModel

/// The JSON body of a request.
public enum JSONBody {
  /// - Parameter limit: in bytes.
  /// - Returns: nil for an empty body.
  /// - Throws: `CentaurError` with `bodyTooLarge`, `invalidJSON`, `malformedRequest`
  public static func read(_ request: Request, limit: Int) async throws -> JSONValue? {
    let tooLarge = CentaurError(.bodyTooLarge, "The body is larger than this server's limit of \(limit) bytes.")
    if let length = request.headers[.contentLength].flatMap(Int.init), length > limit { throw tooLarge }
    let buffer: ByteBuffer
    do {
      buffer = try await request.body.collect(upTo: limit)
    } catch is NIOTooManyBytesError {
      throw tooLarge
    } catch is HTTPParserError {
      throw CentaurError(.malformedRequest, "The body's chunks cannot be told from one another.")
    }
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
