import AsyncHTTPClient
import FoundationEssentials
import NIOCore
import NIOHTTP1
public import SessionModel

/// The session API from outside, for the commands that look after a running server's sessions.
public struct SessionClient: Sendable {
  private let server: String
  private let key: String?

  /// - Parameters:
  ///   - server: its URL, without a path
  ///   - key: the secret of one, where the server asks for it
  public init(server: String, key: String?) {
    self.server = server.hasSuffix("/") ? String(server.dropLast()) : server
    self.key = key
  }

  /// All sessions, newest first, with their newest turns and what their files take.
  /// - Throws: `SessionClientError`
  public func sessions() async throws -> [JSONValue] {
    var found: [JSONValue] = []
    let page = "?include=workspace,newest_execution&limit=200"
    var query = page
    while true {
      let answer = try await ask(.GET, "/api/sessions\(query)")
      found += answer["data"]?.array ?? []
      guard answer["has_more"]?.bool == true, let next = answer["next"]?.string else { return found }
      query = "\(page)&after=\(Self.encoded(next))"
    }
  }

  /// - Throws: `SessionClientError`
  public func session(_ key: ThreadKey) async throws -> JSONValue {
    try await ask(.GET, "\(Self.path(key))?include=workspace")
  }

  /// - Parameter force: ends turns that run.
  /// - Throws: `SessionClientError`
  public func archive(_ key: ThreadKey, force: Bool) async throws -> JSONValue {
    try await ask(.POST, "\(Self.path(key))/archive?force=\(force)")
  }

  /// - Parameter force: ends turns that run.
  /// - Throws: `SessionClientError`
  public func remove(_ key: ThreadKey, force: Bool) async throws -> JSONValue {
    try await ask(.DELETE, "\(Self.path(key))?force=\(force)")
  }

  private static let longestAnswer = 64 << 20

  private func ask(_ method: HTTPMethod, _ path: String) async throws -> JSONValue {
    var request = HTTPClientRequest(url: server + path)
    request.method = method
    if let key { request.headers.add(name: "authorization", value: "Bearer \(key)") }
    let answer: JSONValue
    do {
      let body = try await HTTPClient.withHTTPClient(configuration: .refusedAtOnce) { client in
        // A session with many files takes its time to be removed.
        let response = try await client.execute(request, timeout: .minutes(10))
        return try await response.body.collect(upTo: Self.longestAnswer)
      }
      answer = try JSONValue(parsing: body.readableBytesView)
    } catch is JSONParseError {
      throw SessionClientError("what answers at \(server) is no Centaur server")
    } catch {
      throw SessionClientError(
        "no server answers at \(server): start one with `centaur serve`, or name it with --server")
    }
    if let message = answer["error"]?["message"]?.string {
      throw SessionClientError(message, code: answer["error"]?["code"]?.string)
    }
    return answer
  }

  private static func path(_ key: ThreadKey) -> String { "/api/session/\(encoded(key.rawValue))" }

  /// All but what no URL gives a meaning to.
  private static func encoded(_ text: String) -> String {
    text.utf8.map { byte in
      let isPlain =
        Character(Unicode.Scalar(byte)).isASCII
        && (Character(Unicode.Scalar(byte)).isLetter
          || Character(Unicode.Scalar(byte)).isNumber || "-._~".utf8.contains(byte))
      guard !isPlain else { return String(Unicode.Scalar(byte)) }
      let digits = String(byte, radix: 16, uppercase: true)
      return "%" + (digits.count == 1 ? "0" : "") + digits
    }.joined()
  }
}

/// Why a server's sessions could not be looked after.
public struct SessionClientError: Error, Sendable, CustomStringConvertible {
  public let description: String
  /// The server's own, where it answered.
  public let code: String?

  init(_ description: String, code: String? = nil) {
    self.description = description.onOneLine
    self.code = code
  }
}
