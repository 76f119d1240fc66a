import Metrics
public import NIOCore
import Synchronization

/// How many connections clients hold, and which of them are more than there may be.
///
/// Concurrency: a lock around a number and a set; the connections' handlers write, requests read.
public final class ConnectionCount: Sendable {
  private struct State {
    var count = 0
    /// Connections that came when there were enough.
    var surplus: Set<ObjectIdentifier> = []
  }

  /// How many connections beyond the limit are answered at all: a health check comes through, and whoever opens more is
  /// cut off without a word.
  static let answered = 64
  /// How long such a connection may take for its one request.
  static let patience = TimeAmount.seconds(10)

  public let limit: Int
  private let state = Mutex(State())
  private let gauge = Gauge(label: "centaur_connections")

  public init(limit: Int) { self.limit = limit }

  /// Whether a request of this connection is to be refused.
  public func isSurplus(_ connection: ObjectIdentifier) -> Bool {
    state.withLock { !$0.surplus.isEmpty && $0.surplus.contains(connection) }
  }

  enum Verdict {
    case welcome
    case surplus
    case cut
  }

  fileprivate func enter(_ connection: ObjectIdentifier) -> Verdict {
    let (count, verdict) = state.withLock { state -> (Int, Verdict) in
      state.count += 1
      guard state.count - state.surplus.count > limit else { return (state.count, .welcome) }
      state.surplus.insert(connection)
      return (state.count, state.surplus.count > Self.answered ? .cut : .surplus)
    }
    gauge.record(count)
    return verdict
  }

  fileprivate func leave(_ connection: ObjectIdentifier) {
    let count = state.withLock { state in
      state.count -= 1
      state.surplus.remove(connection)
      return state.count
    }
    gauge.record(count)
  }
}

/// Sits in a connection's pipeline and keeps it within what one client may take: one of so many connections, and no
/// more time than it is given to read what was written to it. One for each connection.
public final class ConnectionBounds: ChannelInboundHandler, RemovableChannelHandler {
  public typealias InboundIn = NIOAny

  /// What the kernel may hold of what a client has not read, in bytes; it counts twice as much, for its own needs.
  private static let sendBuffer: SocketOptionValue = 256 << 10

  private let connections: ConnectionCount
  private let writeStall: TimeAmount
  private var verdict = ConnectionCount.Verdict.welcome
  private var deadline: Scheduled<Void>?

  /// - Parameter writeStall: how long a client may leave so much unread that nothing more can be written to it
  public init(_ connections: ConnectionCount, writeStall: Duration) {
    self.connections = connections
    self.writeStall = TimeAmount(writeStall)
  }

  public func handlerAdded(context: ChannelHandlerContext) {
    verdict = connections.enter(ObjectIdentifier(context.channel))
    // Without it the kernel lets each client that does not read have 4 MiB.
    try? context.channel.syncOptions?.setOption(.socketOption(.so_sndbuf), value: Self.sendBuffer)
    if context.channel.isActive { begin(context) }
  }

  public func channelActive(context: ChannelHandlerContext) {
    begin(context)
    context.fireChannelActive()
  }

  private func begin(_ context: ChannelHandlerContext) {
    switch verdict {
    case .welcome: return
    case .surplus: close(context, in: ConnectionCount.patience)
    case .cut: context.close(promise: nil)
    }
  }

  public func handlerRemoved(context: ChannelHandlerContext) {
    deadline?.cancel()
    connections.leave(ObjectIdentifier(context.channel))
  }

  public func channelWritabilityChanged(context: ChannelHandlerContext) {
    if verdict == .welcome {
      deadline?.cancel()
      deadline = nil
      if !context.channel.isWritable { close(context, in: writeStall) }
    }
    context.fireChannelWritabilityChanged()
  }

  private func close(_ context: ChannelHandlerContext, in time: TimeAmount) {
    deadline = context.eventLoop.assumeIsolated().scheduleTask(in: time) { context.close(promise: nil) }
  }
}
