public import HTTPTypes
public import Hummingbird
import NIOCore
public import SessionModel

/// A WebSocket as a route sees it: a request whose body's parts are the client's messages, answered with a body whose
/// parts are messages to the client. `WebSocketUpgrade` makes it so.
public enum WebSocketExchange {
  /// Whether a request asks for a WebSocket, in whatever version.
  public static func isAsked(by request: HTTPRequest) -> Bool {
    request.method == .get && asksForUpgrade(request) && request.headerFields[.upgrade]?.lowercased() == "websocket"
      && (request.headerFields[.contentLength] ?? "0") == "0" && request.headerFields[.transferEncoding] == nil
  }

  /// Whether a request asks for any other protocol: the parser of HTTP stops behind it.
  static func asksForUpgrade(_ request: HTTPRequest) -> Bool {
    let options = (request.headerFields[.connection] ?? "").lowercased().split { ", \t".contains($0) }
    return options.contains("upgrade") && request.headerFields[.upgrade] != nil
  }

  /// For a request that asks for none, or for one of another version than there is.
  public static let upgradeRequired = Response(
    status: .upgradeRequired, headers: [.upgrade: "websocket", .secWebSocketVersion: "13"])

  /// Whether a request can be granted, but for its key.
  public static func isPossible(for request: Request) -> Bool {
    isAsked(by: request.head) && request.headers[.secWebSocketVersion] == "13"
  }

  /// Grants a request for a WebSocket.
  /// - Parameter body: the whole of it: reads the request's body until it ends, writes messages, and `close`s.
  /// - Throws: `CentaurError` with `invalidValue` where the handshake has no proper key
  public static func response(
    to request: Request, _ body: @escaping @Sendable (inout any ResponseBodyWriter) async throws -> Void
  ) throws(CentaurError) -> Response {
    let key = request.headers[.secWebSocketKey] ?? ""
    guard key.utf8.count == 24, key.hasSuffix("=="), key.utf8.dropLast(2).allSatisfy(isBase64) else {
      throw CentaurError(
        .invalidValue, "Sec-WebSocket-Key must be 16 bytes in base64.", parameter: "sec-websocket-key")
    }
    return Response(status: .switchingProtocols, body: ResponseBody(body))
  }

  /// The last that is written. With it the request's body ends too.
  public static func close(_ writer: any ResponseBodyWriter, _ end: WebSocketEnd) async throws {
    try await writer.finish(end.trailers)
  }

  private static func isBase64(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "/"):
      true
    default: false
    }
  }
}

/// Why a server closes a WebSocket (RFC 6455 §7.4, and the codes that IANA has registered since).
public struct WebSocketEnd: Sendable, Hashable {
  let code: Int
  let reason: String

  public static let normal = WebSocketEnd(code: 1000, reason: "")
  /// The client may connect anew.
  public static func goingAway(_ reason: String) -> WebSocketEnd { WebSocketEnd(code: 1001, reason: reason) }
  public static let failed = WebSocketEnd(code: 1011, reason: "An answer could not be told to its end.")
  public static let restart = WebSocketEnd(code: 1012, reason: "The server is shutting down.")

  private init(code: Int, reason: String) {
    self.code = code
    self.reason = reason
  }

  /// As the end of a response's body, which it is to the route.
  fileprivate var trailers: HTTPFields { [.closeCode: String(code), .closeReason: reason] }

  init(_ trailers: HTTPFields?) {
    code = trailers?[.closeCode].flatMap(Int.init) ?? 1000
    reason = trailers?[.closeReason] ?? ""
  }
}

extension HTTPField.Name {
  fileprivate static let closeCode = Self("x-websocket-close-code")!
  fileprivate static let closeReason = Self("x-websocket-close-reason")!
}
