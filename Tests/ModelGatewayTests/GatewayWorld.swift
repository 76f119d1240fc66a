import FoundationEssentials
import Logging
import NIOCore
import NIOPosix
import SessionModel
import Testing

@testable import ModelGateway

/// A gateway on a data directory of its own, and what a harness and a server see of it.
struct GatewayWorld: Sendable {
  let directory: TestDirectory
  let resolve: @Sendable (String) async throws -> [EgressAddress]

  var data: String { directory.path }
  var files: GatewayFiles { GatewayFiles(data: data) }

  init(resolve: @escaping @Sendable (String) async throws -> [EgressAddress] = { _ in [] }) throws {
    directory = try TestDirectory()
    self.resolve = resolve
  }

  /// Runs `body` while a gateway runs, and ends it.
  @discardableResult
  func withGateway<T: Sendable>(
    _ settings: GatewaySettings? = nil, _ body: @Sendable (ModelGateway) async throws -> T
  ) async throws -> T {
    let gateway = makeGateway()
    let ready = Happening()
    return try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        defer { ready.happened() }
        try await gateway.run(settings: settings) { ready.happened() }
      }
      defer { group.cancelAll() }
      await ready.wait()
      return try await body(gateway)
    }
  }

  func makeGateway() -> ModelGateway {
    var logger = Logger(label: "gateway") { _ in SwiftLogNoOpLogHandler() }
    logger.logLevel = .critical
    return ModelGateway(data: data, clock: WallClock { Timestamp(milliseconds: 0) }, logger: logger, resolve: resolve)
  }

  static func settings(
    _ provider: ScriptedProvider, key: ModelProvider.Key? = .value("sk-real"), headers: [String: String] = [:],
    path: String = "/base/v1"
  ) -> GatewaySettings {
    GatewaySettings(providers: [
      "p": ModelProvider(
        baseURL: provider.url + path, baseIncludesVersion: true, credential: .bearer, key: key, headers: headers)
    ])
  }

  static func grant(
    _ session: String = "s1", limits: GatewayLimits = GatewayLimits(), egress: EgressRules? = nil
  ) -> GatewayGrant {
    GatewayGrant(session: SessionID(rawValue: session), provider: "p", models: ["m1"], limits: limits, egress: egress)
  }

  // MARK: A harness

  /// A connection to a Unix socket.
  struct Connection: Sendable {
    let channel: NIOAsyncChannel<ByteBuffer, ByteBuffer>

    init(_ path: String) async throws {
      channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        .connect(unixDomainSocketPath: path) { channel in
          channel.eventLoop.makeCompletedFuture {
            try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
          }
        }
    }

    /// Sends, and reads until the other side closes, or until what came satisfies `enough`.
    func exchange(
      _ text: String, until enough: @Sendable (String) async throws -> Bool = { _ in false }
    ) async throws -> String {
      try await channel.executeThenClose { inbound, _ in
        try await channel.channel.writeAndFlush(ByteBuffer(string: text))
        var answer = ""
        for try await piece in inbound {
          answer += String(buffer: piece)
          if try await enough(answer) { break }
        }
        return answer
      }
    }
  }

  static func post(
    _ path: String, _ body: String = #"{"model":"m1"}"#, headers: String = "", method: String = "POST"
  ) -> String {
    "\(method) \(path) HTTP/1.1\r\nhost: x\r\n\(headers)content-length: \(body.utf8.count)\r\n\r\n\(body)"
  }

  /// Calls the model as a harness of the sandbox does.
  func call(
    _ sandbox: String = "a", _ path: String = "/v1/responses", _ body: String = #"{"model":"m1"}"#, headers: String = ""
  ) async throws -> String {
    try await Connection("\(files.sockets(sandbox))/model.sock").exchange(Self.post(path, body, headers: headers))
  }

  func control(_ method: String, _ path: String, _ body: JSONValue = .null) async throws -> String {
    try await Connection("\(files.directory)/control.sock")
      .exchange(Self.post(path, body.text, method: method))
  }

  var audit: [JSONValue] {
    let bytes = FileManager.default.contents(atPath: files.audit) ?? Data()
    return bytes.split(separator: 0x0A).compactMap { try? JSONValue(parsing: $0) }
  }
}
