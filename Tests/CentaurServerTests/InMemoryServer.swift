import ControlPlane
import FoundationEssentials
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import Ingress
import Logging
import SQLiteStore
import Sandbox
import SessionModel
import Testing

@testable import CentaurServer

/// The server's own router in memory, with a body limit of 1000 bytes, no sessions and no harness.
struct InMemoryServer: Sendable {
  let store: SQLiteStore
  /// All that it answers.
  let routes: [Route]

  struct Route: Sendable, CustomStringConvertible {
    var method: HTTPRequest.Method
    var path: String
    var description: String { "\(method) \(path)" }
  }

  static let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  static func run(
    _ change: (inout ServerConfiguration) -> Void = { _ in },
    _ body: @Sendable (any TestClientProtocol, InMemoryServer) async throws -> Void
  ) async throws {
    let data = "/tmp/centaur-router-\(UInt32.random(in: 0 ... .max))"
    try FileManager.default.createDirectory(atPath: data, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: data) }
    var configuration = ServerConfiguration()
    configuration.limits.body = 1000
    change(&configuration)
    let store = try SQLiteStore(path: "\(data)/store.sqlite")
    let clock = WallClock { Timestamp(milliseconds: 1_800_000_000_000) }
    let ids = IdentifierSource { 1_800_000_000_000 }
    let controlPlane = ControlPlane(
      store: store, sandboxes: ProcessSandbox(shim: "/nonexistent", environment: [:]),
      configuration: ControlPlaneConfiguration(
        dataDirectory: data, node: "n", harnesses: [:], defaultHarness: [:], gateway: NoWayOut()),
      clock: clock, ids: ids, logger: quiet)
    // A minute does not pass while a test runs, however slowly.
    let began = ContinuousClock.now
    let routes = ServerRoutes(
      configuration: configuration, controlPlane: controlPlane, store: store, keys: store,
      uses: KeyUses(limits: configuration.limits, clock: clock, now: { began }), clock: clock, ids: ids,
      metrics: PrometheusMetrics(), connections: ConnectionCount(limit: .max))
    let router = routes.router()
    let server = InMemoryServer(
      store: store, routes: router.routes.map { Route(method: $0.method, path: $0.path.description) })
    try await Application(router: router, logger: quiet).test(.router) { try await body($0, server) }
  }

  /// Makes a key, and shows its secret.
  func key(_ owner: String, requests: Int? = nil) async throws -> String {
    let ring = KeyRing(
      store: store, ids: IdentifierSource { 1_800_000_000_000 }, clock: WallClock { Timestamp(milliseconds: 1) })
    return try await ring.create(owner: owner, name: nil, requests: requests, turns: nil).secret
  }
}

/// What an answer says: its status, its error's code, and whose error object it is.
struct SaidError: Equatable {
  enum Dialect: Sendable {
    case sessionAPI
    case responses
    case messages
  }

  var status: HTTPResponse.Status
  var code: String?
  var dialect: Dialect

  init(_ status: HTTPResponse.Status, _ code: String?, _ dialect: Dialect) {
    self.status = status
    self.code = code
    self.dialect = dialect
  }

  init(_ response: TestResponse) throws {
    let body = try JSONValue(parsing: response.body.readableBytesView)
    let error = body["error"]
    let dialect: Dialect = body["type"] != nil ? .messages : error?["type"] != nil ? .responses : .sessionAPI
    self.init(response.status, error?["code"]?.string, dialect)
    #expect(response.headers[.contentType] == "application/json")
    #expect(error?["message"]?.string?.isEmpty == false)
  }
}

struct NoWayOut: SandboxGateway {
  func open(
    sandbox: String, session: SessionID, harness: HarnessName, persona: String?
  ) async throws -> SandboxSockets { throw CentaurError(.harnessStart, "No sandbox is started here.") }

  func close(sandbox: String) async {}
}
