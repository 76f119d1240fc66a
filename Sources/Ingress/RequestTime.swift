import HTTPTypes
public import NIOCore
public import NIOHTTPTypes
import SessionModel

/// How long the requests of a connection have been on their way: a pure state machine. One that waits behind another's
/// answer is not read meanwhile, and its time does not go on.
struct RequestTime {
  /// What is to be done with the clock.
  enum Action: Equatable {
    case start
    case stop
  }

  private var requests = 0
  private var answers = 0
  private var isReading = false

  /// Whether all requests but the newest have their answers, so that it is the newest that is read.
  private var isNext: Bool { answers >= requests - 1 }

  /// - Parameter isTimed: not where the body has no end of its own, as a WebSocket's
  mutating func begun(isTimed: Bool) -> Action? {
    requests += 1
    isReading = isTimed
    return isTimed && isNext ? .start : nil
  }

  mutating func ended() -> Action? {
    defer { isReading = false }
    return isReading && isNext ? .stop : nil
  }

  /// A request has its whole answer. One that had it before it was whole itself is still read to its end.
  mutating func answered() -> Action? {
    answers += 1
    return isReading && answers == requests - 1 ? .start : nil
  }
}

/// Sits in a connection's pipeline and ends requests that take too long to arrive, however steadily their bytes come: who
/// reads the body is told (`request_timeout`), and behind the answer the connection ends. One for each connection.
///
/// Concurrency: the connection's event loop. Behind `WebSocketUpgrade`, which keeps the end of what asks for a WebSocket.
public final class RequestTimeLimit: ChannelDuplexHandler, RemovableChannelHandler {
  public typealias InboundIn = HTTPRequestPart
  public typealias InboundOut = HTTPRequestPart
  public typealias OutboundIn = HTTPResponsePart
  public typealias OutboundOut = HTTPResponsePart

  /// How long the answer to such a request may take.
  static let patience = TimeAmount.seconds(10)

  private let limit: Duration
  private var time = RequestTime()
  private var deadline: Scheduled<Void>?
  private var isOver = false

  /// - Parameter limit: from a request's head to the end of its body
  public init(_ limit: Duration) { self.limit = limit }

  public func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    // Nothing is read behind what was given up.
    guard !isOver else { return }
    switch unwrapInboundIn(data) {
    case .head(let request): perform(time.begun(isTimed: !WebSocketExchange.isAsked(by: request)), context)
    case .body: break
    case .end: perform(time.ended(), context)
    }
    context.fireChannelRead(data)
  }

  public func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    switch unwrapOutboundIn(data) {
    case .head(var response) where isOver:
      response.headerFields[.connection] = "close"
      context.write(wrapOutboundOut(.head(response)), promise: promise)
    case .end where isOver:
      context.writeAndFlush(data, promise: promise)
      context.close(promise: nil)
    case .end:
      perform(time.answered(), context)
      context.write(data, promise: promise)
    default: context.write(data, promise: promise)
    }
  }

  public func handlerRemoved(context: ChannelHandlerContext) { deadline?.cancel() }

  private func perform(_ action: RequestTime.Action?, _ context: ChannelHandlerContext) {
    switch action {
    case nil: return
    case .stop: deadline?.cancel()
    case .start:
      deadline?.cancel()
      deadline = context.eventLoop.assumeIsolated().scheduleTask(in: TimeAmount(limit)) { self.giveUp(context) }
    }
  }

  private func giveUp(_ context: ChannelHandlerContext) {
    isOver = true
    context.fireErrorCaught(
      CentaurError(.requestTimeout, "The request was not whole after \(limit.components.seconds) seconds."))
    deadline = context.eventLoop.assumeIsolated().scheduleTask(in: Self.patience) { context.close(promise: nil) }
  }
}
