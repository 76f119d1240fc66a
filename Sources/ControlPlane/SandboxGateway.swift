public import Sandbox
public import SessionModel

/// A sandbox's way out, opened before it starts and closed when it has ended.
///
/// Whoever implements it knows which provider, models and hosts a session may reach; the sandbox only knows its
/// sockets.
public protocol SandboxGateway: Sendable {
  /// Opens the way out of a sandbox for a session. A sandbox that has one is given to the session named now: its calls
  /// count as that session's from then on, at the same sockets.
  /// - Throws: `CentaurError` with `harnessStart`
  func open(
    sandbox: String, session: SessionID, harness: HarnessName, persona: String?
  ) async throws -> SandboxSockets
  /// Closes it. A sandbox that has none is no error.
  func close(sandbox: String) async
}

extension SandboxSockets {
  /// What a harness and its tools must know to go out by the proxy; nothing where there is none.
  var environment: [String: String] {
    guard egress != nil else { return [:] }
    let proxy = "http://127.0.0.1:\(SandboxSpec.egressPort)"
    let local = "127.0.0.1,localhost"
    return [
      "HTTPS_PROXY": proxy, "HTTP_PROXY": proxy, "https_proxy": proxy, "http_proxy": proxy, "NO_PROXY": local,
      "no_proxy": local,
    ]
  }
}
