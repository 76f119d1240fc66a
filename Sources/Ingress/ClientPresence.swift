public import Hummingbird
import Logging
public import NIOCore
public import SessionModel
import Synchronization

/// Whether the client at the other end of a connection is still there.
///
/// Known from the connection itself, not from the next failing write: a turn that writes nothing for minutes notices too.
/// Concurrency: the connection's handler says that it left, whoever answers one of its requests wants to be told.
public final class ClientPresence: Sendable {
  /// A wish to be told.
  public struct Watch: Sendable {
    fileprivate let id: UInt64
  }

  private struct State {
    var hasLeft = false
    var callbacks: [UInt64: @Sendable () -> Void] = [:]
    var next: UInt64 = 0
  }

  private let state = Mutex(State())

  init() {}

  /// Of somebody whose interest may end before the client leaves, and ends with it.
  public convenience init(within client: ClientPresence) {
    self.init()
    // Not forgotten: both live as long as the connection.
    _ = client.onLeave { [weak self] in self?.leave() }
  }

  public var hasLeft: Bool { state.withLock { $0.hasLeft } }

  /// Calls back when the client leaves, at once where it has left; until it is told to forget.
  public func onLeave(_ callback: @escaping @Sendable () -> Void) -> Watch {
    let (watch, hasLeft) = state.withLock { state in
      state.next += 1
      if !state.hasLeft { state.callbacks[state.next] = callback }
      return (Watch(id: state.next), state.hasLeft)
    }
    if hasLeft { callback() }
    return watch
  }

  public func forget(_ watch: Watch) { state.withLock { $0.callbacks[watch.id] = nil } }

  public func leave() {
    let callbacks = state.withLock { state in
      state.hasLeft = true
      defer { state.callbacks = [:] }
      return state.callbacks.values
    }
    for callback in callbacks { callback() }
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
  /// The request's own name, and no other's: in the answer's head, and with whatever is logged of it.
  public var requestID = ""
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
