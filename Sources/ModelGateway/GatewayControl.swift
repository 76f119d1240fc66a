import Glibc
import NIOCore
import NIOHTTP1
import SessionModel
import Synchronization

/// Which gateway is there: a server that starts replaces one of another version or of another build.
public enum GatewayVersion {
  /// Raised with each change of the control socket's protocol, of grants and of settings.
  public static let current = "0.1.0/1"

  /// The file that this process runs, by its size and its time in nanoseconds: an upgrade replaces it, and with it what
  /// a gateway lets pass.
  public static let build: String = {
    var file = stat()
    guard stat("/proc/self/exe", &file) == 0 else { return "" }
    return "\(file.st_size)/\(file.st_mtim.tv_sec).\(file.st_mtim.tv_nsec)"
  }()
}

/// The control socket, `<data>/gateway/control.sock`, for processes of the same user only; no sandbox sees it.
///
///     GET    /v1/status          version, build, pid, whether it has settings, how many sandboxes and servers
///     PUT    /v1/settings        providers with their keys; never told again
///     GET    /v1/sandboxes       grants and what their sessions have used
///     PUT    /v1/sandboxes/ID    opens a sandbox's way out; answers with its sockets
///     DELETE /v1/sandboxes/ID    closes it
///     POST   /v1/attach          stays open for as long as a server lives, and ends when the gateway does
struct GatewayControl {
  let gateway: ModelGateway

  func answer(_ request: UnixHTTP.Request, _ answer: UnixHTTP.Answer) async throws {
    let path = request.uri.split(separator: "/").map(String.init)
    let body = try? JSONValue(parsing: request.body.readableBytesView)
    switch (request.method, path.first, path.dropFirst().first, path.count) {
    case (.GET, "v1", "status", 2): try await answer.send(.ok, body: status.serialized)
    case (.PUT, "v1", "settings", 2):
      guard let settings = body.flatMap(GatewaySettings.init(json:)) else {
        return try await refuse(answer, .badRequest, "The settings cannot be read.")
      }
      try await gateway.apply(settings)
      try await answer.send(.ok, body: status.serialized)
    case (.GET, "v1", "sandboxes", 2): try await answer.send(.ok, body: sandboxes.serialized)
    case (.PUT, "v1", "sandboxes", 3):
      guard GatewayFiles.isName(path[2]), let grant = body.flatMap(GatewayGrant.init(json:)) else {
        return try await refuse(answer, .badRequest, "The grant cannot be read.")
      }
      do {
        let sockets = try await gateway.open(path[2], grant)
        let found: JSONValue = ["model": .string(sockets.model), "egress": JSONValue(sockets.egress)]
        try await answer.send(.ok, body: found.serialized)
      } catch {
        try await refuse(answer, .internalServerError, "The sockets cannot be made: \(error)")
      }
    case (.DELETE, "v1", "sandboxes", 3):
      guard GatewayFiles.isName(path[2]) else { return try await refuse(answer, .badRequest, "No such sandbox.") }
      try await gateway.close(path[2])
      try await answer.send(.ok, body: status.serialized)
    case (.POST, "v1", "attach", 2): try await attach(answer)
    default: try await refuse(answer, .notFound, "There is nothing here.")
    }
  }

  private func refuse(_ answer: UnixHTTP.Answer, _ status: HTTPResponseStatus, _ message: String) async throws {
    let body: JSONValue = ["error": ["message": .string(message)]]
    try await answer.send(status, body: body.serialized)
  }

  /// Holds the connection. When the server goes the connection's task is cancelled.
  private func attach(_ answer: UnixHTTP.Answer) async throws {
    gateway.state.withLock { $0.servers += 1 }
    defer { gateway.state.withLock { $0.servers -= 1 } }
    try await answer.start(.ok, ["content-type": "application/json"])
    try await answer.write(ByteBuffer(bytes: status.serialized + [0x0A]))
    while !gateway.state.withLock({ $0.isReplaced }) { try await Task.sleep(for: .seconds(1)) }
    try await answer.end()
  }

  private var status: JSONValue {
    gateway.state.withLock { state in
      [
        "version": .string(GatewayVersion.current), "build": .string(GatewayVersion.build),
        "pid": .int(Int64(getpid())),
        "has_settings": .bool(state.settings != nil), "sandboxes": JSONValue(state.sandboxes.count),
        "servers": JSONValue(state.servers), "replaced": .bool(state.isReplaced),
      ]
    }
  }

  private var sandboxes: JSONValue {
    let grants = gateway.state.withLock { $0.sandboxes.mapValues(\.grant) }
    return [
      "data": .array(
        grants.sorted { $0.key < $1.key }.map { id, grant in
          let used = gateway.usage(grant.session)
          return [
            "sandbox": .string(id), "grant": grant.json,
            "usage": [
              "requests": JSONValue(used.requests), "input_tokens": JSONValue(used.input),
              "output_tokens": JSONValue(used.output),
            ],
          ]
        })
    ]
  }
}
