import HTTPTypes
import NIOCore
import NIOHTTPTypes
import NIOWebSocket

/// Sits in the pipeline of a connection that has become a WebSocket, between frames and the route that asked for it. To
/// the route the exchange goes on as it began: each message of the client is a part of the request's body, and each part
/// of the response's body is a message to the client.
///
/// Concurrency: the connection's event loop. A client that does not read is not read from either.
final class WebSocketMessages: ChannelDuplexHandler, RemovableChannelHandler {
  typealias InboundIn = WebSocketFrame
  typealias InboundOut = HTTPRequestPart
  typealias OutboundIn = HTTPResponsePart
  typealias OutboundOut = WebSocketFrame

  /// How long the other side may take to say that it closes too.
  private static let closing = TimeAmount.seconds(5)

  private var machine: WebSocketMachine
  private let rules: WebSocketRules
  /// What the route wrote while the connection changed.
  private var early: [(HTTPResponsePart, EventLoopPromise<Void>?)]
  private var lastHeard = NIODeadline.now()
  private var check: Scheduled<Void>?
  private var deadline: Scheduled<Void>?
  /// A read that waits until the client has read.
  private var holdsRead = false

  init(_ rules: WebSocketRules, early: [(HTTPResponsePart, EventLoopPromise<Void>?)]) {
    machine = WebSocketMachine(limit: rules.messageSize)
    self.rules = rules
    self.early = early
  }

  func handlerAdded(context: ChannelHandlerContext) {
    lastHeard = .now()
    scheduleCheck(context)
    let early = early
    self.early = []
    for (part, promise) in early { write(part, promise, context) }
    context.flush()
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    check?.cancel()
    deadline?.cancel()
  }

  private func scheduleCheck(_ context: ChannelHandlerContext) {
    check = context.eventLoop.assumeIsolated().scheduleTask(in: rules.pingInterval) { self.checkClient(context) }
  }

  /// Asks a client that is quiet whether it is there; one that says nothing for long is not.
  private func checkClient(_ context: ChannelHandlerContext) {
    let silence = NIODeadline.now() - lastHeard
    guard silence < rules.longestSilence else { return context.close(promise: nil) }
    scheduleCheck(context)
    guard machine.isOpen, silence >= rules.pingInterval else { return }
    context.writeAndFlush(
      wrapOutboundOut(WebSocketFrame(fin: true, opcode: .ping, data: ByteBuffer())), promise: nil)
  }

  // MARK: From the client

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    perform(machine.receive(unwrapInboundIn(data)), context)
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    // Also of a frame that is not whole yet.
    lastHeard = .now()
    context.fireChannelReadComplete()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    if let error = error as? NIOWebSocketError { return perform(machine.decodingFailed(error), context) }
    // What comes behind a frame that could not be read.
    if error is ByteToMessageDecoderError { return }
    context.fireErrorCaught(error)
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    switch event {
    case is ChannelShouldQuiesceEvent: perform(machine.end(.restart, "The server is shutting down."), context)
    // Half a WebSocket is none.
    case ChannelEvent.inputClosed as ChannelEvent: context.close(promise: nil)
    default: context.fireUserInboundEventTriggered(event)
    }
  }

  func read(context: ChannelHandlerContext) {
    if context.channel.isWritable { context.read() } else { holdsRead = true }
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    if holdsRead, context.channel.isWritable {
      holdsRead = false
      context.read()
    }
    context.fireChannelWritabilityChanged()
  }

  // MARK: From the route

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    write(unwrapOutboundIn(data), promise, context)
  }

  private func write(_ part: HTTPResponsePart, _ promise: EventLoopPromise<Void>?, _ context: ChannelHandlerContext) {
    switch part {
    case .head: promise?.succeed()
    case .body(let message):
      guard machine.isOpen else { return promise?.fail(ChannelError.ioOnClosedChannel) ?? () }
      context.write(wrapOutboundOut(WebSocketFrame(fin: true, opcode: .text, data: message)), promise: promise)
    case .end(let trailers):
      let end = WebSocketEnd(trailers)
      perform(machine.end(WebSocketErrorCode(codeNumber: end.code), end.reason), context)
      promise?.succeed()
    }
  }

  private func perform(_ actions: [WebSocketMachine.Action], _ context: ChannelHandlerContext) {
    for action in actions {
      switch action {
      case .deliver(let message): context.fireChannelRead(wrapInboundOut(.body(message)))
      case .send(let frame): context.writeAndFlush(wrapOutboundOut(frame), promise: nil)
      case .endInput: context.fireChannelRead(wrapInboundOut(.end(nil)))
      case .close: context.close(promise: nil)
      case .closeOutput: context.close(mode: .output, promise: nil)
      case .awaitClose:
        // What the client still sends is read and dropped: unread, it would take our last words with it.
        context.read()
        deadline = context.eventLoop.assumeIsolated().scheduleTask(in: Self.closing) { context.close(promise: nil) }
      }
    }
  }
}

extension WebSocketErrorCode {
  /// Service restart, as registered with IANA.
  static let restart = WebSocketErrorCode(codeNumber: 1012)
}
