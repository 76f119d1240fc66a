import AsyncHTTPClient
import FoundationEssentials
import HTTPTypes
import Hummingbird
public import Logging
import NIOCore
import NIOHTTP1
public import SessionModel
import Synchronization

/// The way out for model calls: knows a sandbox by the unguessable path that it was given, adds the provider's key,
/// and forwards nothing but model calls. So a sandbox holds no key, and its calls are written down.
///
/// Answers are passed on as they come. A provider's stream that breaks off breaks off at the harness too: a clean end would read as
/// a whole answer.
public struct ModelGateway: Sendable {
  /// On whose behalf a call is made, and of whom it is asked.
  private struct Grant: Sendable {
    var session: SessionID
    var provider: String
  }

  private final class Grants: Sendable {
    let state = Mutex<(byToken: [String: Grant], bySession: [String: String])>(([:], [:]))
  }

  private let providers: [String: ModelProvider]
  private let onListening: @Sendable (Int) async -> Void
  private let logger: Logger
  private let grants = Grants()

  /// - Parameter onListening: is told the port on 127.0.0.1.
  public init(
    providers: [String: ModelProvider], logger: Logger, onListening: @escaping @Sendable (_ port: Int) async -> Void
  ) {
    self.providers = providers
    self.logger = logger
    self.onListening = onListening
  }

  /// The path under which a session's harness reaches its provider, the same each time it is asked for.
  public func path(session: SessionID, provider: String) -> String {
    let token = grants.state.withLock { grants -> String in
      let name = "\(provider) \(session)"
      if let token = grants.bySession[name] { return token }
      var random = SystemRandomNumberGenerator()
      let token = String(random.next() as UInt64, radix: 36) + String(random.next() as UInt64, radix: 36)
      grants.bySession[name] = token
      grants.byToken[token] = Grant(session: session, provider: provider)
      return token
    }
    return "/s/\(token)"
  }

  /// Serves until it is told to end.
  /// - Throws: when no port can be had
  public func run() async throws {
    let clients = providers.mapValues { provider in
      var configuration = HTTPClient.Configuration()
      configuration.timeout = .init(
        connect: .seconds(10), read: .nanoseconds(provider.timeout.milliseconds * 1_000_000))
      configuration.httpVersion = .http1Only
      return HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }
    var logger = logger
    logger.logLevel = max(logger.logLevel, .warning)
    let application = Application(
      router: router(clients), configuration: .init(address: .hostname("127.0.0.1", port: 0), serverName: nil),
      onServerRunning: { channel in await onListening(channel.localAddress?.port ?? 0) }, logger: logger)
    do {
      try await application.run()
    } catch {
      for client in clients.values { try await client.shutdown() }
      throw error
    }
    for client in clients.values { try await client.shutdown() }
  }

  private func router(_ clients: [String: HTTPClient]) -> Router<BasicRequestContext> {
    let router = Router(context: BasicRequestContext.self)
    for path in ["responses", "messages", "messages/count_tokens"] {
      router.post("/s/:token/v1/\(path)") { request, context in
        try await forward(request, token: context.parameters.get("token") ?? "", path: "/v1/\(path)", clients)
      }
    }
    return router
  }

  private func forward(
    _ request: Request, token: String, path: String, _ clients: [String: HTTPClient]
  ) async throws -> Response {
    guard let grant = grants.state.withLock({ $0.byToken[token] }), let provider = providers[grant.provider],
      let client = clients[grant.provider]
    else { return refusal(.unauthorized, "This gateway does not know the sandbox that asks.") }
    let begun = ContinuousClock.now
    let base = await provider.baseURL()
    let query = request.uri.query.map { "?\($0)" } ?? ""
    var outgoing = HTTPClientRequest(
      url: base + (provider.baseIncludesVersion ? String(path.dropFirst("/v1".count)) : path) + query)
    outgoing.method = .POST
    outgoing.headers = headers(request.headers, provider)
    // Read to its end first: a body that the client still reads while the answer is already over would be read by two,
    // which ends this process.
    outgoing.body = .bytes(try await request.body.collect(upTo: Self.longestBody))
    do {
      // The whole answer may take as long as it likes; how long it may be silent is the client's own setting.
      let incoming = try await client.execute(outgoing, timeout: .hours(24))
      logger.info(
        "model call",
        metadata: [
          "session": "\(grant.session)", "provider": "\(grant.provider)", "path": "\(path)",
          "status": "\(incoming.status.code)", "head": "\(begun.duration(to: .now).milliseconds)ms",
        ])
      return Response(
        status: HTTPResponse.Status(code: Int(incoming.status.code)), headers: answered(incoming.headers),
        body: ResponseBody(asyncSequence: incoming.body))
    } catch let error as HTTPClientError {
      logger.warning(
        "model call failed",
        metadata: ["session": "\(grant.session)", "provider": "\(grant.provider)", "error": "\(error)"])
      return refusal(.badGateway, "The model's provider cannot be reached.")
    } catch let error as IOError {
      logger.warning(
        "model call failed",
        metadata: ["session": "\(grant.session)", "provider": "\(grant.provider)", "error": "\(error)"])
      return refusal(.badGateway, "The model's provider cannot be reached.")
    }
  }

  /// What goes to the provider: all that the harness said but credentials, and what belongs to one connection.
  private static let notForwarded: Set<String> = [
    "authorization", "x-api-key", "cookie", "host", "connection", "content-length", "transfer-encoding", "te",
    "keep-alive", "upgrade", "expect", "accept-encoding", "proxy-authorization",
  ]

  /// Of a call, in bytes; a harness keeps below what its model takes.
  private static let longestBody = 256 << 20

  private func headers(_ fields: HTTPFields, _ provider: ModelProvider) -> HTTPHeaders {
    var headers = HTTPHeaders()
    for field in fields where !Self.notForwarded.contains(field.name.canonicalName) {
      headers.add(name: field.name.rawName, value: field.value)
    }
    if let key = provider.key {
      switch provider.credential {
      case .bearer: headers.add(name: "authorization", value: "Bearer \(key)")
      case .apiKey: headers.add(name: "x-api-key", value: key)
      }
    }
    return headers
  }

  private static let answeredHeaders: Set<String> = [
    "content-type", "retry-after", "x-request-id", "request-id", "x-should-retry", "x-stand-in-model",
  ]

  private func answered(_ headers: HTTPHeaders) -> HTTPFields {
    var fields = HTTPFields()
    for (name, value) in headers where Self.answeredHeaders.contains(name.lowercased()) {
      if let name = HTTPField.Name(name) { fields.append(HTTPField(name: name, value: value)) }
    }
    return fields
  }

  private func refusal(_ status: HTTPResponse.Status, _ message: String) -> Response {
    let body: JSONValue = [
      "type": "error", "error": ["type": "server_error", "code": "model_gateway", "message": .string(message)],
    ]
    return Response(
      status: status, headers: [.contentType: "application/json"],
      body: ResponseBody(byteBuffer: ByteBuffer(bytes: body.serialized)))
  }
}
