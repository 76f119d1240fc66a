public import HTTPTypes
public import Hummingbird
public import NIOCore
import NIOHTTP1
public import SessionModel

/// The JSON body of a request.
public enum JSONBody {
  /// JSON is taken for what it is, whatever its client calls it (`curl -d` calls all that it sends a form); what is none
  /// is told by its type.
  /// - Parameter limit: in bytes.
  /// - Returns: nil for an empty body.
  /// - Throws: `CentaurError` with `bodyTooLarge`, `invalidJSON`, `mediaType`, `malformedRequest`, `requestTimeout`
  public static func read(_ request: Request, limit: Int) async throws -> JSONValue? {
    try parse(try await bytes(of: request, limit: limit), request.headers)
  }

  /// The body as it came.
  /// - Parameter limit: in bytes.
  /// - Throws: `CentaurError` with `bodyTooLarge`, `malformedRequest`, `requestTimeout`
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

  /// - Parameter headers: of the request whose body it is
  /// - Returns: nil where there are no bytes.
  /// - Throws: `CentaurError` with `invalidJSON`, `mediaType`
  public static func parse(_ buffer: ByteBuffer, _ headers: HTTPFields) throws(CentaurError) -> JSONValue? {
    guard buffer.readableBytes > 0 else { return nil }
    do {
      return try JSONValue(parsing: buffer.readableBytesView)
    } catch {
      throw otherType(headers) ?? CentaurError(.invalidJSON, "The body is not JSON: \(error).")
    }
  }

  /// What is to be said of a body that is not meant to be JSON, or not to be read as it is.
  private static func otherType(_ headers: HTTPFields) -> CentaurError? {
    if let coding = headers[.contentEncoding], !["", "identity"].contains(coding.lowercased()) {
      return CentaurError(
        .mediaType,
        "The body's Content-Encoding '\(coding.prefix(64))' is not known here: bodies are sent as they are.",
        parameter: "content-encoding")
    }
    guard let type = headers[.contentType] else { return nil }
    let name = type.prefix { $0 != ";" && $0 != " " && $0 != "\t" }.lowercased()
    guard !name.isEmpty, !["application/json", "text/json"].contains(name), !name.hasSuffix("+json") else { return nil }
    return CentaurError(
      .mediaType, "The body is of the type '\(name.prefix(64))'; JSON is wanted here (application/json).",
      parameter: "content-type")
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
