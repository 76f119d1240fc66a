import HTTPTypes
import HummingbirdCore
public import NIOCore
import NIOHTTP1
public import NIOHTTPTypes
import NIOHTTPTypesHTTP1
import NIOWebSocket

/// What a WebSocket is held to.
public struct WebSocketRules: Sendable {
  /// The longest message of a client, in bytes.
  let messageSize: Int
  /// How long a client may be quiet before it is asked whether it is there, and before it counts as gone.
  let pingInterval: TimeAmount
  let longestSilence: TimeAmount

  public init(messageSize: Int, pingInterval: Duration, longestSilence: Duration) {
    self.messageSize = min(messageSize, Int(UInt32.max))
    self.pingInterval = TimeAmount(pingInterval)
    self.longestSilence = TimeAmount(longestSilence)
  }
}

/// Sits in a connection's pipeline and makes a WebSocket of it where a route answers a request for one with 101
/// (`WebSocketExchange.response`). So whoever looks at requests, looks at these too, and refuses them as any other.
///
/// Concurrency: the connection's event loop. One for each connection; it leaves the pipeline when that has changed.
public final class WebSocketUpgrade: ChannelDuplexHandler, RemovableChannelHandler {
  public typealias InboundIn = HTTPRequestPart
  public typealias InboundOut = HTTPRequestPart
  public typealias OutboundIn = HTTPResponsePart
  public typealias OutboundOut = HTTPResponsePart

  private enum State {
    case http
    /// A request for another protocol waits for its answer. Nothing can follow it on this connection but that protocol:
    /// the parser stops there. Its end is kept, since to the route the messages are its body.
    case asked(HTTPRequest, end: HTTPRequestPart?)
    /// It was refused.
    case refused
    /// It was granted; what the route writes waits until frames can be written.
    case changing([(HTTPResponsePart, EventLoopPromise<Void>?)])
  }

  private let rules: WebSocketRules
  private var state = State.http
  /// Requests whose answers have not ended: what is written belongs to the oldest of them.
  private var unanswered = 0

  public init(_ rules: WebSocketRules) { self.rules = rules }

  public func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let part = unwrapInboundIn(data)
    if case .head = part { unanswered += 1 }
    switch (part, state) {
    case (.head(let request), .http) where WebSocketExchange.asksForUpgrade(request):
      state = .asked(request, end: nil)
      context.fireChannelRead(data)
    case (let end, .asked(let request, nil)) where end.isEnd && WebSocketExchange.isAsked(by: request):
      state = .asked(request, end: end)
    default: context.fireChannelRead(data)
    }
  }

  public func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    let part = unwrapOutboundIn(data)
    defer { if part.isEnd { unanswered -= 1 } }
    switch (part, state) {
    case (.head(let response), .asked(let request, let end)) where unanswered == 1:
      guard response.status == .switchingProtocols, WebSocketExchange.isAsked(by: request) else {
        return refuse(response, end, promise, context)
      }
      state = .changing([])
      change(request, response, promise, context)
    case (let end, .refused) where end.isEnd:
      let done = promise ?? context.eventLoop.makePromise()
      let channel = context.channel
      done.futureResult.whenComplete { _ in channel.close(promise: nil) }
      context.writeAndFlush(data, promise: done)
    case (_, .changing(let early)): state = .changing(early + [(part, promise)])
    default: context.write(data, promise: promise)
    }
  }

  private func refuse(
    _ response: HTTPResponse, _ end: HTTPRequestPart?, _ promise: EventLoopPromise<Void>?,
    _ context: ChannelHandlerContext
  ) {
    state = .refused
    var response = response
    response.headerFields[.connection] = "close"
    context.write(wrapOutboundOut(.head(response)), promise: promise)
    if let end { context.fireChannelRead(wrapInboundOut(end)) }
  }

  // MARK: The change

  /// First the parser goes, then the answer, then everything else of HTTP.
  private func change(
    _ request: HTTPRequest, _ response: HTTPResponse, _ promise: EventLoopPromise<Void>?,
    _ context: ChannelHandlerContext
  ) {
    let pipeline = context.pipeline.syncOperations
    let upgrader = NIOWebSocketServerUpgrader(
      shouldUpgrade: { channel, _ in channel.eventLoop.makeSucceededFuture([:]) },
      upgradePipelineHandler: { channel, _ in channel.eventLoop.makeSucceededVoidFuture() })
    var head = HTTPRequestHead(version: .http1_1, method: .GET, uri: request.path ?? "/")
    for name in [HTTPField.Name.secWebSocketKey, .secWebSocketVersion] {
      head.headers.add(name: name.rawName, value: request.headerFields[name] ?? "")
    }
    upgrader.buildUpgradeResponse(channel: context.channel, upgradeRequest: head, initialResponseHeaders: [:])
      .assumeIsolated()
      .flatMapThrowing { headers in
        let parser = try pipeline.context(handlerType: ByteToMessageHandler<HTTPRequestDecoder>.self)
        return (headers, parser)
      }
      .flatMap { (headers: HTTPHeaders, parser: ChannelHandlerContext) in
        pipeline.removeHandler(context: parser).assumeIsolated().map { headers }.nonisolated()
      }
      .flatMapThrowing { (headers: HTTPHeaders) in
        var response = response
        for header in headers {
          if let name = HTTPField.Name(header.name) { response.headerFields[name] = header.value }
        }
        context.writeAndFlush(self.wrapOutboundOut(.head(response)), promise: promise)
        try self.replaceHandlers(context)
      }
      .whenFailure { error in
        promise?.fail(error)
        context.close(promise: nil)
      }
  }

  private func replaceHandlers(_ context: ChannelHandlerContext) throws {
    let pipeline = context.pipeline.syncOperations
    guard case .changing(let early) = state else { return }
    let codec = try pipeline.handler(type: HTTP1ToHTTPServerCodec.self)
    try pipeline.addHandlers(
      [
        WebSocketFrameEncoder(),
        ByteToMessageHandler(WebSocketFrameDecoder(maxFrameSize: rules.messageSize)),
      ], position: .before(codec))
    try pipeline.addHandler(WebSocketMessages(rules, early: early), position: .after(self))
    pipeline.removeHandler(try pipeline.handler(type: HTTPResponseEncoder.self), promise: nil)
    pipeline.removeHandler(codec, promise: nil)
    pipeline.removeHandler(try pipeline.handler(type: RequestTargets.self), promise: nil)
    // Its idle time is that of requests.
    pipeline.removeHandler(try pipeline.handler(type: HTTPConnectionStateHandler.self), promise: nil)
    pipeline.removeHandler(self, promise: nil)
  }
}

extension HTTPRequestPart {
  fileprivate var isEnd: Bool { if case .end = self { true } else { false } }
}

extension HTTPResponsePart {
  fileprivate var isEnd: Bool { if case .end = self { true } else { false } }
}
