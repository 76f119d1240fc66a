import NIOCore
import NIOPosix
import SessionModel
public import ShimProtocol

/// A connection to a shim, for as long as `ShimLink.with` runs its body.
///
/// Concurrency: writes may come from any task; events have one reader, who sets the pace: what is not read waits in the
/// shim's spool.
public struct ShimLink: Sendable {
  /// What the shim said of itself when it was reached.
  public let hello: ShimHello
  private let outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>

  /// Gives the harness input under an id; a repeated id is delivered once.
  /// - Throws: when the shim is gone
  public func send(inputID: String, bytes: [UInt8], closesInput: Bool = false) async throws {
    KillPoint.reach("input.before")
    try await send(.input(id: inputID, bytes: bytes, closesInput: closesInput))
    KillPoint.reach("input.after")
  }

  /// Sends a signal to the harness's process group.
  /// - Throws: when the shim is gone
  public func signal(_ number: Int32) async throws { try await send(.signal(number)) }

  /// Output before `offset` is stored elsewhere.
  /// - Throws: when the shim is gone
  public func release(before offset: Int64) async throws { try await send(.release(offset: offset)) }

  /// What runs now is the harness itself: `sweep` leaves it alone.
  /// - Throws: when the shim is gone
  public func keep() async throws { try await send(.keep) }

  /// Ends what was started since; `swept` follows. Where that cannot be done the sandbox ends instead.
  /// - Throws: when the shim is gone
  public func sweep() async throws {
    KillPoint.reach("sweep.before")
    try await send(.sweep)
    KillPoint.reach("sweep.after")
  }

  private func send(_ frame: ServerFrame) async throws {
    try await outbound.write(ByteBuffer(bytes: FrameCodec.encode(frame)))
  }

  /// Connects to the shim of `directory`, attaches, and runs `body`.
  /// - Throws: `CentaurError` with `harnessStart` where it cannot be reached, and what `body` throws
  static func with(
    directory: String, fence: Int64, offset: Int64, _ body: @Sendable (ShimLink, ShimEvents) async throws -> Void
  ) async throws {
    let channel = try await connect(directory)
    try await channel.executeThenClose { inbound, outbound in
      var events = ShimEvents(inbound: inbound)
      let link = ShimLink(hello: try await events.hello(), outbound: outbound)
      try await link.send(.attach(fence: fence, offset: offset))
      try await body(link, events)
    }
  }

  /// Asks the shim of `directory` who it is, and nothing else.
  /// - Throws: `CentaurError` with `harnessStart` where it cannot be reached or does not say so in time,
  ///   `sandboxVersion` where it speaks another version of the protocol
  static func hello(directory: String, within limit: Duration) async throws(CentaurError) -> ShimHello {
    do {
      return try await withThrowingTaskGroup(of: ShimHello?.self) { group in
        group.addTask {
          try await connect(directory).executeThenClose { inbound, _ in
            var events = ShimEvents(inbound: inbound)
            return try await events.hello()
          }
        }
        group.addTask {
          try await Task.sleep(for: limit)
          return nil
        }
        defer { group.cancelAll() }
        guard let hello = try await group.next() ?? nil else {
          throw CentaurError(.harnessStart, "The sandbox does not answer.")
        }
        return hello
      }
    } catch let error as CentaurError {
      throw error
    } catch {
      throw CentaurError(.harnessStart, "The sandbox cannot be reached.")
    }
  }

  /// Tells the shim of `directory` to end, and waits until it has; also for one who is cancelled meanwhile.
  /// - Returns: false where a newer server has attached: the sandbox is that one's, and goes on
  static func stop(directory: String, fence: Int64) async -> Bool {
    await Task {
      do {
        let channel = try await connect(directory)
        try await channel.executeThenClose { inbound, outbound in
          var events = ShimEvents(inbound: inbound)
          let end = try await events.hello().spoolEnd
          // In one piece: nobody comes between the two.
          let frames = FrameCodec.encode(.attach(fence: fence, offset: end)) + FrameCodec.encode(.stop)
          try await outbound.write(ByteBuffer(bytes: frames))
          // The end of the connection is the end of the shim, which goes last.
          while try await events.next() != nil {}
        }
      } catch let error as CentaurError where error.code == .leaseLost {
        return false
      } catch {
        // Nobody listens there, or none that can be told: what is left is ended by its process.
      }
      return true
    }.value
  }

  private static func connect(_ directory: String) async throws -> NIOAsyncChannel<ByteBuffer, ByteBuffer> {
    do {
      return try await ShortSocketPath.with(directory: directory) { path in
        try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
          .connect(unixDomainSocketPath: path) { channel in
            channel.eventLoop.makeCompletedFuture {
              try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
            }
          }
      }
    } catch {
      throw CentaurError(.harnessStart, "The sandbox cannot be reached.")
    }
  }
}

/// What a shim tells its server.
public enum ShimEvent: Sendable, Hashable {
  /// Output of the harness, and the offset of its first byte.
  case output(offset: Int64, bytes: [UInt8])
  case accepted(inputID: String)
  /// What was started since `keep` is gone.
  case swept
  case exited(ShimExit)
}

/// A shim's events in order. For one reader.
public struct ShimEvents: Sendable {
  private let inbound: NIOAsyncChannelInboundStream<ByteBuffer>
  private var iterator: InboundIterator?
  private var decoder = FrameDecoder()

  init(inbound: NIOAsyncChannelInboundStream<ByteBuffer>) { self.inbound = inbound }

  /// The next event; nil when the connection has ended.
  /// - Throws: `CentaurError` where the shim refuses the connection or cannot be understood
  public mutating func next() async throws -> ShimEvent? {
    while let frame = try await nextFrame() {
      switch frame {
      case .hello: continue
      case .output(let offset, let bytes): return .output(offset: offset, bytes: bytes)
      case .accepted(let id): return .accepted(inputID: id)
      case .swept: return .swept
      case .exited(let exit): return .exited(exit)
      case .refused(let reason): throw CentaurError(.leaseLost, "The sandbox refused this server: \(reason).")
      }
    }
    return nil
  }

  /// The shim speaks first.
  /// - Throws: `CentaurError` with `harnessStart`, `sandboxVersion`
  mutating func hello() async throws -> ShimHello {
    guard case .hello(let hello)? = try await nextFrame() else {
      throw CentaurError(.harnessStart, "The sandbox's shim cannot be understood.")
    }
    guard hello.version == ShimHello.currentVersion else {
      throw CentaurError(
        .sandboxVersion,
        "The session's sandbox speaks version \(hello.version) of the shim's protocol, this server version "
          + "\(ShimHello.currentVersion): a server of its version must end it.", retryAfter: .seconds(30))
    }
    return hello
  }

  private mutating func nextFrame() async throws -> ShimFrame? {
    while true {
      do {
        if let frame = try decoder.nextShimFrame() { return frame }
      } catch {
        throw CentaurError(.harnessProtocol, "The sandbox's shim cannot be understood.")
      }
      let iterator = iterator ?? InboundIterator(inbound.makeAsyncIterator())
      self.iterator = iterator
      guard let buffer = try await iterator.next() else { return nil }
      decoder.append(buffer.readableBytesView)
    }
  }
}

/// The inbound stream's one iterator.
///
/// `@unchecked Sendable`: it is made and used by the one reader of `ShimEvents`, never by two tasks at once; NIO traps
/// on a second iterator.
private final class InboundIterator: @unchecked Sendable {
  private var base: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator

  init(_ base: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator) { self.base = base }

  func next() async throws -> ByteBuffer? { try await base.next() }
}
