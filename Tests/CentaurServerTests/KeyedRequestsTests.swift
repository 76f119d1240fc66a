import FoundationEssentials
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import SessionModel
import Testing

@testable import CentaurServer

/// Who is let in: with a key everybody who has one, without keys everybody.
struct KeyedRequestsTests {
  private static func bearer(_ secret: String) -> HTTPFields { [.authorization: "Bearer \(secret)"] }
  private static let apiKey = HTTPField.Name("x-api-key")!
  private static let origin = HTTPField.Name("Origin")!
  private static let unknown = "centaur_sk_" + String(repeating: "0", count: 48)

  /// A path that a route answers.
  private static func path(of route: String) -> String {
    var names = route.split(separator: "/").map { $0.hasPrefix("{") || $0.hasPrefix(":") ? "api:x" : String($0) }
    if names.last == "**" { names[names.count - 1] = "x" }
    return "/" + names.joined(separator: "/")
  }

  @Test("once there is a key, no route but the ones that say that somebody is there is answered without one")
  func allRoutes() async throws {
    try await InMemoryServer.run { client, server in
      let secret = try await server.key("team")
      for route in server.routes {
        let path = Self.path(of: route.path)
        let isOpen = ["GET /healthz", "GET /readyz", "HEAD /", "HEAD /api/hello"].contains("\(route.method) \(path)")
        for (headers, code) in [([:], "key_missing"), (Self.bearer(Self.unknown), "key_refused")] {
          try await client.execute(uri: path, method: route.method, headers: headers) { response in
            guard !isOpen else {
              #expect(response.status == .ok)
              return
            }
            let said = try SaidError(response)
            let dialect: SaidError.Dialect =
              !path.hasPrefix("/v1/") ? .sessionAPI : path.hasPrefix("/v1/messages") ? .messages : .responses
            #expect(said == SaidError(.unauthorized, code, dialect), "\(route)")
            #expect(response.headers[.wwwAuthenticate] == "Bearer")
            #expect(!String(buffer: response.body).contains(Self.unknown))
          }
        }
        // Others would open a session, and nobody runs any here.
        guard [.get, .head].contains(route.method) else { continue }
        try await client.execute(uri: path, method: route.method, headers: Self.bearer(secret)) { response in
          #expect(response.status != .unauthorized, "\(route)")
        }
      }
    }
  }

  @Test("a path that is spelled otherwise, or is not there, is behind the key too")
  func spellings() async throws {
    try await InMemoryServer.run { client, server in
      _ = try await server.key("team")
      for path in ["//healthz", "/healthz/", "/%68ealthz", "/nothing", "/v1/nothing", "//v1/responses", "/api/hello/"] {
        for method in [HTTPRequest.Method.get, .post, .head] {
          try await client.execute(uri: path, method: method) { response in
            #expect(response.status == .unauthorized, "\(method) \(path)")
          }
        }
      }
    }
  }

  @Test("either header opens; a revoked key does not from the next request on")
  func revoked() async throws {
    try await InMemoryServer.run { client, server in
      let secret = try await server.key("team")
      for headers in [Self.bearer(secret), [Self.apiKey: secret]] as [HTTPFields] {
        try await client.execute(uri: "/api/sessions", method: .get, headers: headers) { response in
          #expect(response.status == .ok)
        }
      }
      let id = try await server.store.keys()[0].id
      _ = try await server.store.revoke(id, at: Timestamp(milliseconds: 2))
      try await client.execute(uri: "/api/sessions", method: .get, headers: Self.bearer(secret)) { response in
        let said = try SaidError(response)
        #expect(said == SaidError(.unauthorized, "key_refused", .sessionAPI))
      }
    }
  }

  @Test("Codex is told by a stream that it shows as it is, and asks once")
  func codex() async throws {
    try await InMemoryServer.run { client, server in
      _ = try await server.key("team")
      let headers: HTTPFields = [HTTPField.Name("originator")!: "codex_exec"]
      try await client.execute(uri: "/v1/responses", method: .post, headers: headers) { response in
        #expect(response.status == .ok)
        #expect(response.headers[.contentType] == "text/event-stream")
        let body = String(buffer: response.body)
        #expect(body.contains("event: response.failed\n"))
        #expect(body.contains("\"code\":\"invalid_prompt\",\"message\":\"This server wants a key"))
      }
    }
  }

  @Test("with keys a server may be called by any name; whose page asks still counts")
  func names() async throws {
    try await InMemoryServer.run { client, server in
      let foreign: HTTPFields = [Self.origin: "https://evil.example"]
      let secret = try await server.key("team")
      try await client.execute(uri: "/api/sessions", method: .get, headers: Self.bearer(secret) + foreign) { response in
        let said = try SaidError(response)
        #expect(said == SaidError(.forbidden, "foreign_origin", .sessionAPI))
      }
    }
  }

  @Test("what is over a key's requests a minute is refused in the caller's dialect, with the time to come back")
  func requests() async throws {
    try await InMemoryServer.run { client, server in
      let secret = try await server.key("team", requests: 3)
      let other = try await server.key("team", requests: 3)
      func ask(_ secret: String, _ path: String, _ more: HTTPFields = [:]) async throws -> TestResponse {
        try await client.execute(
          uri: path, method: path == "/v1/responses" ? .post : .get, headers: Self.bearer(secret) + more)
      }
      for _ in 0..<3 { #expect(try await ask(secret, "/api/sessions").status == .ok) }
      for (path, dialect) in [
        ("/api/sessions", SaidError.Dialect.sessionAPI), ("/v1/responses", .responses), ("/v1/messages", .messages),
      ] {
        let refused = try await ask(secret, path)
        #expect(try SaidError(refused) == SaidError(.tooManyRequests, "key_request_limit", dialect))
        // One of three a minute: 20 s, less what has passed.
        #expect((1...21).contains(refused.headers[.retryAfter].flatMap(Int.init) ?? 0))
      }
      // Codex hides what it is told by 429, and waits in silence after 503.
      let codex = try await ask(secret, "/v1/responses", [HTTPField.Name("originator")!: "codex_exec"])
      #expect(codex.status == .serviceUnavailable)
      #expect(codex.headers[.retryAfter] != nil)
      // Another key of the same owner has its own.
      #expect(try await ask(other, "/api/sessions").status == .ok)
    }
  }

  @Test("the sums over all owners are the server's own owner's")
  func metrics() async throws {
    try await InMemoryServer.run { client, server in
      let local = try await server.key("local")
      let team = try await server.key("team")
      #expect(try await client.execute(uri: "/metrics", method: .get, headers: Self.bearer(local)).status == .ok)
      let refused = try await client.execute(uri: "/metrics", method: .get, headers: Self.bearer(team))
      #expect(try SaidError(refused) == SaidError(.notFound, "not_found", .sessionAPI))
    }
  }
}

/// The table of routes that `conformance/test_owners.py` walks with two owners: it has every route.
struct RouteTableTests {
  private static let table = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().appending(path: "conformance/routes.json")

  @Test("every route is in the table of the test that tries it with somebody else's ids, and no other")
  func complete() async throws {
    let table = try JSONValue(parsing: [UInt8](Data(contentsOf: Self.table)))
    let known = try #require(table.array).compactMap { $0["route"]?.string }
    try await InMemoryServer.run { _, server in
      let routes = server.routes.map(\.description)
      #expect(Set(routes).subtracting(known).sorted() == [], "add them to conformance/routes.json")
      #expect(Set(known).subtracting(routes).sorted() == [], "they are not there any more")
      #expect(known.count == Set(known).count)
    }
  }
}
