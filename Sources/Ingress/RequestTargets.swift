public import HummingbirdCore
public import Logging
public import NIOCore
import NIOHTTP1
import NIOHTTPTypesHTTP1

/// HTTP/1 on a connection, where a request is to whom its target says it is (`GET http://host/path`).
///
/// Beneath it what a target names beside its path is thrown away, and only `Host` would be looked at.
public struct TargetedHTTP1: ServerChildChannel {
  private let http: HTTP1Channel

  public init(_ http: HTTP1Channel) { self.http = http }

  public func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<HTTP1Channel.Value> {
    http.setup(channel: channel, logger: logger).flatMapThrowing { value in
      let pipeline = channel.pipeline.syncOperations
      try pipeline.addHandler(
        RequestTargets(), position: .before(pipeline.handler(type: HTTP1ToHTTPServerCodec.self)))
      return value
    }
  }

  public func handle(value: HTTP1Channel.Value, logger: Logger) async {
    await http.handle(value: value, logger: logger)
  }
}

/// Writes the authority of a request's target before `Host`, whose place it has (RFC 9112, §3.2.2). Where both are the
/// same there is still one; where they are not, there are two, of which nobody knows which is meant.
final class RequestTargets: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias InboundOut = HTTPServerRequestPart

  private static let host = "Host"

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard case .head(var head) = unwrapInboundIn(data), let authority = Self.authority(head.uri),
      // A request without one is refused for that.
      let first = head.headers.first(name: Self.host), first.lowercased() != authority.lowercased()
    else { return context.fireChannelRead(data) }
    let hosts = head.headers[Self.host]
    head.headers.remove(name: Self.host)
    for host in [authority] + hosts { head.headers.add(name: Self.host, value: host) }
    context.fireChannelRead(wrapInboundOut(.head(head)))
  }

  /// What a target in absolute form names; nil for one in another form.
  private static func authority(_ target: String) -> String? {
    guard !target.hasPrefix("/") else { return nil }
    var rest = target[...]
    while let colon = rest.firstIndex(of: ":") {
      rest = rest[rest.index(after: colon)...]
      if rest.hasPrefix("//") { return String(rest.dropFirst(2).prefix { !"/?#".contains($0) }) }
    }
    return nil
  }
}
