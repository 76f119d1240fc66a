import HTTPTypes
import Hummingbird
import HummingbirdTesting
import Ingress
import Logging
import SessionModel
import Synchronization
import Testing

@testable import CentaurServer

/// Which requests errors were logged of.
private struct NotedLog: LogHandler {
  private final class Noted: Sendable {
    let ids = Mutex<[String]>([])
  }

  private let noted = Noted()
  var metadata: Logger.Metadata = [:]
  var logLevel = Logger.Level.error

  var requestIDs: [String] { noted.ids.withLock { $0 } }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    guard case .string(let id)? = metadata["request_id"] else { return }
    noted.ids.withLock { $0.append(id) }
  }
}

/// What a caller is told when no route answers: in the dialect of the path, with a stable code, and nothing that leaks.
struct RequestErrorsTests {
  private static func withServer(_ body: @Sendable (any TestClientProtocol) async throws -> Void) async throws {
    try await InMemoryServer.run { client, _ in try await body(client) }
  }

  private typealias Said = SaidError

  /// Asks, and compares what is said.
  private static func expect(
    _ client: any TestClientProtocol, _ method: HTTPRequest.Method, _ path: String, body: String? = nil, _ said: Said,
    at place: SourceLocation = #_sourceLocation
  ) async throws {
    try await client.execute(uri: path, method: method, body: body.map { ByteBuffer(string: $0) }) { response in
      let answer = try Said(response)
      #expect(answer == said, sourceLocation: place)
    }
  }

  @Test("health, readiness and metrics answer")
  func probes() async throws {
    try await Self.withServer { client in
      for (path, start) in [("/healthz", "ok"), ("/readyz", "ready"), ("/metrics", "\n")] {
        try await client.execute(uri: path, method: .get) { response in
          #expect(response.status == .ok)
          #expect(String(buffer: response.body).hasPrefix(start))
        }
      }
    }
  }

  @Test("what is not there is not found, in the dialect of the path")
  func notFound() async throws {
    try await Self.withServer { client in
      try await Self.expect(client, .get, "/nothing", Said(.notFound, "not_found", .sessionAPI))
      try await Self.expect(client, .post, "/healthz", Said(.notFound, "not_found", .sessionAPI))
      try await Self.expect(client, .get, "/api/nothing", Said(.notFound, "not_found", .sessionAPI))
      try await Self.expect(client, .get, "/v1/nothing", Said(.notFound, "not_found", .responses))
      try await Self.expect(
        client, .post, "/v1/responses/resp_x/nothing", body: "{}", Said(.notFound, "not_found", .responses))
      try await Self.expect(client, .get, "/v1/messages/batches", Said(.notFound, "not_found", .messages))
      // A client of Anthropic's API says so where the path does not.
      let headers: HTTPFields = [.anthropicVersion: "2023-06-01"]
      try await client.execute(uri: "/v1/nothing", method: .get, headers: headers) { response in
        let answer = try Said(response)
        #expect(answer == Said(.notFound, "not_found", .messages))
      }
    }
  }

  static let misplaced: [(method: HTTPRequest.Method, path: String, dialect: SaidError.Dialect, advice: String)] = [
    (.post, "/responses", .responses, "ends in one '/v1'"),
    (.post, "/v1/v1/responses", .responses, "ends in one '/v1'"),
    (.post, "/v1/responses/responses", .responses, "ends in one '/v1'"),
    (.get, "/models", .responses, "ends in one '/v1'"),
    (.get, "/conversations/c/items", .responses, "ends in one '/v1'"),
    (.post, "/agents/v1/responses", .responses, "ends in one '/v1'"), (.post, "/messages", .messages, "without '/v1'"),
    (.post, "/v1/v1/messages", .messages, "without '/v1'"),
    (.post, "/v1/messages/v1/messages", .messages, "without '/v1'"),
    (.post, "/v1/v1/messages/count_tokens", .messages, "without '/v1'"),
    (.post, "/v1/chat/completions", .responses, "POST /v1/responses"),
    (.post, "/chat/completions", .responses, "POST /v1/responses"),
  ]

  @Test("who has a wrong base URL is told in the own dialect what it should be", arguments: misplaced)
  func wrongBaseURL(
    _ method: HTTPRequest.Method, _ path: String, _ dialect: SaidError.Dialect, _ advice: String
  ) async throws {
    try await Self.withServer { client in
      try await client.execute(uri: path, method: method, body: ByteBuffer(string: "{}")) { response in
        let said = try Said(response)
        #expect(said == Said(.notFound, "not_found", dialect))
        #expect(String(buffer: response.body).contains(advice))
      }
    }
  }

  @Test(
    "what is at the right base URL and not there is no advice about it", arguments: ["/v1/models/m", "/v1/responses/r"])
  func rightBaseURL(_ path: String) async throws {
    try await Self.withServer { client in
      try await client.execute(uri: path, method: .get) { response in
        #expect(response.status == .notFound && !String(buffer: response.body).contains("base URL"))
      }
    }
  }

  @Test("Codex and Claude Code, which hide a 404, are told of a wrong base URL in the forms that they show")
  func wrongBaseURLOfCLIs() async throws {
    try await Self.withServer { client in
      let codex: HTTPFields = [HTTPField.Name("originator")!: "codex_exec"]
      try await client.execute(uri: "/responses", method: .post, headers: codex) { response in
        #expect(response.status == .ok)
        #expect(String(buffer: response.body).contains("ends in one '/v1'"))
      }
      let claude: HTTPFields = [.userAgent: "claude-cli/2.1.330 (external, sdk-cli)", .anthropicVersion: "2023-06-01"]
      try await client.execute(uri: "/v1/v1/messages", method: .post, headers: claude) { response in
        #expect(response.status == .badRequest)
        #expect(String(buffer: response.body).contains("without '/v1'"))
      }
    }
  }

  @Test("a body that is too large is refused by its length, in the dialect of the path")
  func tooLarge() async throws {
    try await Self.withServer { client in
      let large = "{\"text\":\"\(String(repeating: "x", count: 1000))\"}"
      try await Self.expect(
        client, .post, "/v1/responses", body: large, Said(.contentTooLarge, "body_too_large", .responses))
      try await Self.expect(
        client, .post, "/v1/messages", body: large, Said(.contentTooLarge, "body_too_large", .messages))
      try await Self.expect(
        client, .post, "/api/session/api:x/messages", body: large,
        Said(.contentTooLarge, "body_too_large", .sessionAPI))
    }
  }

  @Test("a body that is no JSON is refused, in the dialect of the path", arguments: ["{", "{\"a\":}", "\u{0}", "[1,]"])
  func noJSON(_ body: String) async throws {
    try await Self.withServer { client in
      try await Self.expect(
        client, .post, "/v1/responses", body: body, Said(.badRequest, "invalid_json", .responses))
      try await Self.expect(
        client, .post, "/v1/messages", body: body, Said(.badRequest, "invalid_json", .messages))
      try await Self.expect(
        client, .post, "/api/session/api:x", body: body, Said(.badRequest, "invalid_json", .sessionAPI))
    }
  }

  @Test(
    "a body of another kind is told by its kind, in the dialect of the path; JSON is taken whatever it is called",
    arguments: [
      ("model=m&input=x", [.contentType: "application/x-www-form-urlencoded"]),
      ("--x\r\n\r\n", [.contentType: "multipart/form-data; boundary=x"]), ("<a/>", [.contentType: "text/plain"]),
      ("\u{1F}\u{8B}", [.contentType: "application/json", .contentEncoding: "gzip"]),
    ] as [(String, HTTPFields)])
  func otherKinds(_ body: String, _ headers: HTTPFields) async throws {
    try await Self.withServer { client in
      for (path, dialect) in [
        ("/v1/responses", SaidError.Dialect.responses), ("/v1/responses/compact", .responses),
        ("/v1/conversations", .responses), ("/v1/messages", .messages), ("/v1/messages/count_tokens", .messages),
        ("/api/session/api:x", .sessionAPI),
      ] {
        try await client.execute(uri: path, method: .post, headers: headers, body: ByteBuffer(string: body)) {
          let answer = try Said($0)
          #expect(answer == Said(.unsupportedMediaType, "unsupported_media_type", dialect))
        }
        try await client.execute(uri: path, method: .post, headers: headers, body: ByteBuffer(string: "[]")) {
          let answer = try Said($0)
          #expect(answer == Said(.badRequest, "invalid_type", dialect))
        }
      }
    }
  }

  @Test(
    "what calls itself JSON and is none is that", arguments: ["application/json; charset=utf-8", "application/x+json"])
  func calledJSON(_ type: String) async throws {
    try await Self.withServer { client in
      try await client.execute(
        uri: "/v1/responses", method: .post, headers: [.contentType: type], body: ByteBuffer(string: "{")
      ) {
        let answer = try Said($0)
        #expect(answer == Said(.badRequest, "invalid_json", .responses))
      }
    }
  }

  @Test("a session that cannot be named or is not there is refused by the session API")
  func sessions() async throws {
    try await Self.withServer { client in
      func expect(_ path: String, _ status: HTTPResponse.Status, _ code: String) async throws {
        try await Self.expect(client, .get, path, Said(status, code, .sessionAPI))
      }
      try await expect("/api/session/nocolon", .badRequest, "thread_key_malformed")
      let long = "api:" + String(repeating: "x", count: 509)
      try await expect("/api/session/\(long)", .badRequest, "thread_key_too_long")
      try await expect("/api/session/\(long.dropLast())", .notFound, "session_not_found")
      try await expect("/api/session/api%3Ax", .notFound, "session_not_found")
      try await expect("/api/session/api:x/events", .notFound, "session_not_found")
      try await expect("/api/sessions?limit=0", .badRequest, "invalid_value")
      try await expect("/api/sessions?limit=201", .badRequest, "invalid_value")
    }
  }

  @Test(
    "what somebody else's web page sends is refused, in the dialect of the path",
    arguments: ["https://evil.example", "http://127.0.0.1.evil.example:8787", "null", "file://", "https://"])
  func foreign(_ origin: String) async throws {
    try await Self.withServer { client in
      for (path, dialect) in [
        ("/api/sessions", SaidError.Dialect.sessionAPI), ("/v1/responses", .responses), ("/v1/messages", .messages),
      ] {
        try await client.execute(uri: path, method: .get, headers: [Self.origin: origin]) { response in
          let answer = try Said(response)
          #expect(answer == Said(.forbidden, "foreign_origin", dialect))
        }
      }
    }
  }

  @Test(
    "a page of this machine's own is answered",
    arguments: ["http://localhost:3000", "https://LOCALHOST", "http://127.0.0.1:8787", "http://[::1]:1"])
  func ownPage(_ origin: String) async throws {
    try await Self.withServer { client in
      try await client.execute(uri: "/api/sessions", method: .get, headers: [Self.origin: origin]) { response in
        #expect(response.status == .ok)
      }
    }
  }

  private static let origin = HTTPField.Name("Origin")!

  // MARK: The middleware by itself

  private struct Secret: Error { let text = "the key is sk-123" }

  /// Errors that come out of a route, and what a caller is told of each.
  static let thrown: [(name: String, status: HTTPResponse.Status, code: String)] = [
    ("session_busy", .conflict, "session_busy"), ("too_many", .serviceUnavailable, "too_many_turns"),
    ("method", .methodNotAllowed, "method_not_allowed"), ("large", .contentTooLarge, "body_too_large"),
    ("unreadable", .badRequest, "invalid_value"), ("type", .badRequest, "invalid_value"),
    ("broken", .internalServerError, "internal_error"), ("secret", .internalServerError, "internal_error"),
  ]

  private static func error(_ name: String) -> any Error {
    switch name {
    case "session_busy": CentaurError(.sessionBusy, "A turn runs.", retryAfter: .seconds(3))
    case "too_many": CentaurError(.tooManyTurns, "Busy.", retryAfter: .milliseconds(10))
    case "method": HTTPError(.methodNotAllowed)
    case "large": HTTPError(.contentTooLarge)
    case "unreadable": HTTPError(.badRequest, message: "the key is sk-123")
    case "type": HTTPError(.unsupportedMediaType)
    case "broken": HTTPError(.internalServerError, message: "the key is sk-123")
    default: Secret()
    }
  }

  @Test(
    "an error that a route throws becomes an error object with its own status, and says nothing of the inside",
    arguments: thrown)
  func middleware(_ name: String, _ status: HTTPResponse.Status, _ code: String) async throws {
    let router = Router(context: EdgeRequestContext.self)
    router.add(middleware: RequestErrors(ids: IdentifierSource { 1 }, clock: WallClock { Timestamp(milliseconds: 1) }))
    for prefix in ["/v1/", "/api/"] {
      router.get(RouterPath("\(prefix)\(name)")) { _, _ -> Response in throw Self.error(name) }
    }
    try await Application(router: router, logger: InMemoryServer.quiet).test(.router) { client in
      try await Self.expect(client, .get, "/api/\(name)", Said(status, code, .sessionAPI))
      try await Self.expect(client, .get, "/v1/\(name)", Said(status, code, .responses))
      try await client.execute(uri: "/api/\(name)", method: .get) { response in
        #expect(!String(buffer: response.body).contains("sk-123"))
        let seconds = ["session_busy": "3", "too_many": "1"][name]
        #expect(response.headers[.retryAfter] == seconds)
      }
    }
  }

  @Test("what is logged of a request bears the id that its client is told, where its API's clients look for that")
  func requestIDs() async throws {
    let log = NotedLog()
    let router = Router(context: EdgeRequestContext.self)
    let clock = WallClock { Timestamp(milliseconds: 1) }
    router.add(middleware: RequestErrors(ids: IdentifierSource { UInt64(clock.now.milliseconds) }, clock: clock))
    for path in ["/v1/responses", "/v1/messages", "/api/sessions"] {
      router.get(RouterPath(path)) { _, _ -> Response in throw Secret() }
    }
    let told = Mutex<[String]>([])
    try await Application(router: router, logger: Logger(label: "test") { _ in log }).test(.router) { client in
      for (path, header) in [
        ("/v1/responses", "x-request-id"), ("/v1/messages", "request-id"), ("/api/sessions", "x-request-id"),
        ("/v1/nowhere", "x-request-id"),
      ] {
        try await client.execute(uri: path, method: .get) { response in
          let names = response.headers.map(\.name.canonicalName).filter { $0.hasSuffix("request-id") }
          #expect(names == [header])
          let id = try #require(response.headers.first { $0.name.canonicalName == header }?.value)
          #expect(id.wholeMatch(of: /req_[0-9a-f]{32}/) != nil)
          if path != "/v1/nowhere" { told.withLock { $0.append(id) } }
        }
      }
    }
    #expect(Set(told.withLock { $0 }).count == 3)
    #expect(log.requestIDs == told.withLock { $0 })
  }
}
