public import Hummingbird
import Logging
public import NIOCore
public import SessionModel
import Synchronization

/// Whether the client at the other end of a connection is still there.
///
/// Known from the connection itself, not from the next failing write: a turn that writes nothing for minutes notices too.
/// Concurrency: the connection's handler says that it left, one request at a time wants to be told.
public final class ClientPresence: Sendable {
  private struct State {
    var hasLeft = false
    var callback: (@Sendable () -> Void)?
  }

  private let state = Mutex(State())

  init() {}

  public var hasLeft: Bool { state.withLock { $0.hasLeft } }

  /// Calls back when the client leaves, at once where it has left; takes the place of an earlier wish.
  public func onLeave(_ callback: (@Sendable () -> Void)?) {
    let hasLeft = state.withLock { state in
      state.callback = callback
      return state.hasLeft
    }
    if hasLeft { callback?() }
  }

  fileprivate func leave() {
    let callback = state.withLock { state in
      state.hasLeft = true
      defer { state.callback = nil }
      return state.callback
    }
    callback?()
  }
}

/// Sits in a connection's pipeline and notices its end. One for each connection.
public final class ClientPresenceHandler: ChannelInboundHandler, RemovableChannelHandler {
  public typealias InboundIn = NIOAny

  fileprivate let presence = ClientPresence()

  public init() {}

  public func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case ChannelEvent.inputClosed? = event as? ChannelEvent { presence.leave() }
    context.fireUserInboundEventTriggered(event)
  }

  public func channelInactive(context: ChannelHandlerContext) {
    presence.leave()
    context.fireChannelInactive()
  }
}

/// What a request knows beside its bytes: its connection, and whose it is.
public struct EdgeRequestContext: RequestContext {
  public var coreContext: CoreRequestContextStorage
  public var caller = Caller.local
  /// The server has no keys: whoever reaches it is its owner.
  public var trustsMachine = true
  /// The connection.
  public let channel: any Channel

  public init(source: ApplicationRequestContextSource) {
    coreContext = CoreRequestContextStorage(source: source)
    channel = source.channel
  }

  /// Whose sessions, answers and files the request may name.
  public var owner: Owner { caller.owner }

  /// Of this request, for as long as it is there.
  public var connection: ObjectIdentifier { ObjectIdentifier(channel) }

  /// The client of this request.
  public var client: ClientPresence {
    get async {
      let channel = channel
      let known = channel.eventLoop.submit {
        try channel.pipeline.syncOperations.handler(type: ClientPresenceHandler.self).presence
      }
      // A connection that is gone has no handlers left, and neither has a test's.
      if let presence = try? await known.get() { return presence }
      let gone = ClientPresence()
      gone.leave()
      return gone
    }
  }
}
