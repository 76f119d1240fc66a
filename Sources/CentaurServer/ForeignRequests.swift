import HTTPTypes
import Hummingbird
import Ingress
import SessionModel

/// Refuses what somebody else's web page sends, by a browser on this machine, to a server that trusts the machine.
///
/// A page may send a request anywhere; what it cannot do is hide where it comes from (`Origin`), nor, where its own name
/// was made to point here, call us by another one (`Host`). An address as a number cannot be such a name. Where keys are
/// asked for, such a name opens nothing, and a server may be called by any; a page's origin still tells.
struct ForeignRequests: RouterMiddleware {
  /// Names under which the server is known, beside `localhost`.
  let hosts: [String]

  func handle(
    _ request: Request, context: EdgeRequestContext,
    next: (Request, EdgeRequestContext) async throws -> Response
  ) async throws -> Response {
    if context.trustsMachine, let host = request.head.authority, !isOurs(host) {
      throw CentaurError(
        .foreignOrigin,
        "This server is not known as '\(Self.name(host).prefix(128))'; 'hosts' in its configuration may say so.")
    }
    if let origin = request.headers[.origin], !isPageOfOurs(Self.authority(origin), host: request.head.authority) {
      throw CentaurError(.foreignOrigin, "Requests of the origin '\(origin.prefix(128))' are refused.")
    }
    return try await next(request, context)
  }

  /// A page that this server or this machine gave out; an address of another machine says nothing good.
  private func isPageOfOurs(_ authority: String, host: String?) -> Bool {
    let name = Self.name(authority)
    return authority == host || name == "localhost" || name == "[::1]" || name.hasPrefix("127.") && Self.isAddress(name)
      || hosts.contains(name)
  }

  private func isOurs(_ authority: String) -> Bool {
    let name = Self.name(authority)
    return name == "localhost" || Self.isAddress(name) || hosts.contains(name)
  }

  /// `https://host:port` → `host:port`; nothing of another form is ours.
  private static func authority(_ origin: String) -> String {
    for scheme in ["http://", "https://"] where origin.hasPrefix(scheme) {
      return String(origin.dropFirst(scheme.count))
    }
    return ""
  }

  /// Without the port, lower-case. With a user's name before it, it is nobody's: a port may look like it.
  private static func name(_ authority: String) -> String {
    guard !authority.contains("@") else { return authority }
    if authority.hasPrefix("["), let end = authority.firstIndex(of: "]") { return String(authority[...end]) }
    return authority.prefix { $0 != ":" }.lowercased()
  }

  private static func isAddress(_ name: String) -> Bool {
    if name.hasPrefix("[") { return true }
    let parts = name.split(separator: ".", omittingEmptySubsequences: false)
    return parts.count == 4 && parts.allSatisfy { UInt8($0) != nil }
  }
}

extension HTTPField.Name {
  static let origin = Self("Origin")!
}
