import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import SessionModel
import Synchronization

/// What the gateway knows at one moment: providers, sandboxes, servers that are attached.
struct GatewayState {
  /// A provider with what calls need of it.
  struct Provider: Sendable {
    var settings: ModelProvider
    var key: ProviderKey
    var client: HTTPClient

    func authorize(_ headers: inout HTTPHeaders) {
      for (name, value) in settings.headers { headers.replaceOrAdd(name: name, value: value) }
      guard let key = key.value else { return }
      switch settings.credential {
      case .bearer: headers.replaceOrAdd(name: "authorization", value: "Bearer \(key)")
      case .apiKey: headers.replaceOrAdd(name: "x-api-key", value: key)
      }
    }
  }

  /// A sandbox's ways out. No listeners: it was known before there were settings.
  struct Sandbox: Sendable {
    var grant: GatewayGrant
    var model: UnixListener?
    var egress: UnixListener?

    var listeners: [UnixListener] { [model, egress].compactMap(\.self) }
  }

  var settings: GatewaySettings?
  var providers: [String: Provider] = [:]
  var clients: [Duration: HTTPClient] = [:]
  var sandboxes: [String: Sandbox] = [:]
  var ledgers: [SessionID: SessionLedger] = [:]
  /// Of sandboxes that were closed, or that a newer gateway serves: their last connections.
  var closing: [UnixListener] = []
  var servers = 0
  /// A newer gateway has taken over.
  var isReplaced = false
}

extension HTTPClient {
  /// For calls of providers that may be silent as long as given. Certificates are verified, redirections are not
  /// followed, and no call waits for another's connection.
  static func forProviders(timeout: Duration) -> HTTPClient {
    var configuration = HTTPClient.Configuration()
    configuration.timeout = .init(connect: .seconds(10), read: .milliseconds(timeout.milliseconds))
    configuration.httpVersion = .http1Only
    configuration.redirectConfiguration = .disallow
    configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 4096
    return HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
  }
}
