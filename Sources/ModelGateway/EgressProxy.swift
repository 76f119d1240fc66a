import NIOCore
import NIOPosix
import SessionModel
import Synchronization

/// The CONNECT proxy on a sandbox's `egress.sock`: to names on its list, at addresses of the public Internet.
///
/// A name is looked up once; what was judged is what is connected to. Each connection is one line of the audit log.
struct EgressProxy: Sendable {
  typealias Resolve = @Sendable (_ name: String) async throws -> [EgressAddress]

  private let sandbox: String
  private let session: SessionID
  private let rules: EgressRules
  private let audit: AuditLog
  private let clock: WallClock
  private let resolve: Resolve
  private let open = Open()

  private final class Open: Sendable {
    let count = Mutex(0)
  }

  init(
    sandbox: String, session: SessionID, rules: EgressRules, audit: AuditLog, clock: WallClock,
    resolve: @escaping Resolve
  ) {
    self.sandbox = sandbox
    self.session = session
    self.rules = rules
    self.audit = audit
    self.clock = clock
    self.resolve = resolve
  }

  typealias Connection = NIOAsyncChannel<ByteBuffer, ByteBuffer>

  /// Of a connection: what a `UnixListener` is set up with.
  func setUp(_ channel: any Channel) throws -> @Sendable () async -> Void {
    let connection = try Self.wrap(channel)
    return {
      let isWelcome = open.count.withLock { count in
        count += 1
        return count <= rules.connections
      }
      defer { open.count.withLock { $0 -= 1 } }
      try? await connection.executeThenClose { inbound, _ in
        try await EgressConnection(proxy: self, client: channel, inbound: inbound).serve(isWelcome: isWelcome)
      }
    }
  }

  static func wrap(_ channel: any Channel) throws -> Connection {
    try channel.syncOptions?.setOption(.allowRemoteHalfClosure, value: true)
    return try Connection(wrappingChannelSynchronously: channel)
  }

  var idle: Duration { rules.idle }
  var now: Timestamp { clock.now }

  /// The address to connect to.
  /// - Throws: `EgressRefusal`
  func address(_ request: EgressRequest) async throws -> EgressAddress {
    guard let name = EgressName(request.host) else {
      throw EgressRefusal(.forbidden, "not_a_name", "Only host names are allowed, no addresses.")
    }
    guard rules.allows(name, port: request.port) else {
      throw EgressRefusal(
        .forbidden, "not_allowed", "\(name.text):\(request.port) is not on this sandbox's list of allowed hosts.")
    }
    let found: [EgressAddress]
    do {
      if let known = rules.names[name] { found = known } else { found = try await resolve(name.text) }
    } catch {
      throw EgressRefusal(.unreachable, "no_address", "\(name.text) has no address.")
    }
    guard !found.isEmpty else { throw EgressRefusal(.unreachable, "no_address", "\(name.text) has no address.") }
    guard let address = rules.choose(found) else {
      throw EgressRefusal(.forbidden, "address_forbidden", "\(name.text) has an address that is not public.")
    }
    return address
  }

  func write(_ record: EgressRecord, _ time: Timestamp, _ duration: Duration) {
    audit.write([
      "time": .string(AuditTime.text(time)), "kind": "egress", "session": .string(session.rawValue),
      "sandbox": .string(sandbox), "host": JSONValue(record.host), "port": .init(record.port ?? 0),
      "address": JSONValue(record.address), "verdict": .string(record.verdict), "bytes_out": JSONValue(record.bytesOut),
      "bytes_in": JSONValue(record.bytesIn), "duration_ms": .int(duration.milliseconds),
    ])
  }
}

/// What the audit log says of a connection.
struct EgressRecord: Sendable {
  var host: String?
  var port: Int?
  var address: String?
  var verdict = "cut"
  var bytesOut = 0
  var bytesIn = 0
}

/// Why a connection is not made.
struct EgressRefusal: Error, Hashable {
  enum Status: String {
    case malformed = "400 Bad Request"
    case forbidden = "403 Forbidden"
    case notConnect = "405 Method Not Allowed"
    case tooLong = "431 Request Header Fields Too Large"
    case tooMany = "429 Too Many Requests"
    case unreachable = "502 Bad Gateway"
  }

  let status: Status
  /// For the audit log.
  let verdict: String
  let message: String

  init(_ status: Status, _ verdict: String, _ message: String) {
    self.status = status
    self.verdict = verdict
    self.message = message
  }
}
