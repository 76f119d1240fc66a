import AsyncHTTPClient
import FoundationEssentials
import Glibc
import ModelGateway
import NIOCore
import NIOHTTP1
import Sandbox
import SessionModel

/// The gateway's control socket as a server sees it.
final class GatewayClient: Sendable {
  /// Held open: the socket's path goes through it, and may so be longer than a socket's path can be.
  private let directory: Int32
  private let base: String

  /// - Throws: what the file system says
  init(_ files: GatewayFiles) throws {
    try files.create()
    directory = Glibc.open(files.directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard directory >= 0 else { throw ConfigurationError("\(files.directory) cannot be opened") }
    base = "http+unix://%2Fproc%2Fself%2Ffd%2F\(directory)%2Fcontrol.sock"
  }

  deinit { Glibc.close(directory) }

  /// Not the shared one: a gateway that dies behind a look whether it is there would be waited for by the one who has to
  /// start another.
  private static let http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: .refusedAtOnce)

  struct Status: Sendable, Hashable {
    var version: String
    /// Nil: of a release that did not tell.
    var build: String?
    var pid: Int32
  }

  /// - Throws: where no gateway answers
  func status() async throws -> Status { try Self.status(await call(.GET, "/v1/status")) }

  private static func status(_ value: JSONValue) throws -> Status {
    guard let version = value["version"]?.string, let pid = value["pid"]?.int else { throw Unreadable() }
    return Status(version: version, build: value["build"]?.string, pid: Int32(truncatingIfNeeded: pid))
  }

  func apply(_ settings: GatewaySettings) async throws { _ = try await call(.PUT, "/v1/settings", settings.json) }

  func open(_ sandbox: String, _ grant: GatewayGrant) async throws -> SandboxSockets {
    let answer = try await call(.PUT, "/v1/sandboxes/\(sandbox)", grant.json)
    guard let model = answer["model"]?.string else { throw Unreadable() }
    return SandboxSockets(model: model, egress: answer["egress"]?.string)
  }

  func close(_ sandbox: String) async throws { _ = try await call(.DELETE, "/v1/sandboxes/\(sandbox)") }

  /// Stays until the gateway ends, or a newer one has taken over; says by it that a server is there.
  func attach() async throws {
    while true {
      var request = HTTPClientRequest(url: base + "/v1/attach")
      request.method = .POST
      do {
        let response = try await Self.http.execute(request, timeout: .hours(24 * 365))
        for try await _ in response.body {}
        return
      } catch let error as HTTPClientError where error == .readTimeout {
        // Nothing is ever said on it: that is no news.
      }
    }
  }

  private func call(_ method: HTTPMethod, _ path: String, _ body: JSONValue? = nil) async throws -> JSONValue {
    var request = HTTPClientRequest(url: base + path)
    request.method = method
    if let body { request.body = .bytes(ByteBuffer(bytes: body.serialized)) }
    let response = try await Self.http.execute(request, timeout: .seconds(20))
    let bytes = try await response.body.collect(upTo: 16 << 20)
    guard response.status == .ok else { throw Refused(status: response.status.code, body: String(buffer: bytes)) }
    return try JSONValue(parsing: bytes.readableBytesView)
  }

  struct Unreadable: Error {}

  struct Refused: Error {
    let status: UInt
    let body: String
  }
}
