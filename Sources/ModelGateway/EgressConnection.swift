import NIOCore
import NIOPosix
import SessionModel
import Synchronization

/// One connection through the proxy, from its CONNECT to the end of both directions.
struct EgressConnection {
  let proxy: EgressProxy
  let client: any Channel
  let inbound: NIOAsyncChannelInboundStream<ByteBuffer>

  private static let patience: TimeAmount = .seconds(10)

  func serve(isWelcome: Bool) async throws {
    let begun = ContinuousClock.now
    let time = proxy.now
    var record = EgressRecord()
    defer { proxy.write(record, time, begun.duration(to: .now)) }
    var iterator = inbound.makeAsyncIterator()
    do {
      guard isWelcome else {
        throw EgressRefusal(.tooMany, "too_many", "This sandbox has too many connections.")
      }
      let (request, rest) = try await request(&iterator)
      record.host = String(request.host.prefix(256))
      record.port = request.port
      let address = try await proxy.address(request)
      record.address = address.description
      try await connect(address, request.port, rest, EgressReader(iterator), &record)
    } catch let refusal as EgressRefusal {
      record.verdict = refusal.verdict
      let body = "\(refusal.message)\n"
      try await client.writeAndFlush(
        ByteBuffer(
          string: "HTTP/1.1 \(refusal.status.rawValue)\r\ncontent-type: text/plain\r\nconnection: close\r\n"
            + "content-length: \(body.utf8.count)\r\n\r\n\(body)"))
    }
  }

  private func request(
    _ iterator: inout NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
  ) async throws -> (EgressRequest, ByteBuffer) {
    // Who says nothing is cut.
    let timer = client.eventLoop.scheduleTask(in: Self.patience) { client.close(promise: nil) }
    defer { timer.cancel() }
    var bytes = ByteBuffer()
    while true {
      guard var piece = try await iterator.next() else {
        throw EgressRefusal(.malformed, "malformed", "The request has no end.")
      }
      bytes.writeBuffer(&piece)
      let view = bytes.readableBytesView
      if let end = EgressRequest.endOfHead(view), end - view.startIndex <= EgressRequest.longestHead {
        let head = bytes.readString(length: end - view.startIndex) ?? ""
        do {
          return (try EgressRequest(head: head), bytes)
        } catch .notConnect {
          throw EgressRefusal(
            .notConnect, "not_connect", "This proxy takes CONNECT only; use https:// addresses, or tunnel http.")
        } catch {
          throw EgressRefusal(.malformed, "malformed", "This is no CONNECT request.")
        }
      }
      guard bytes.readableBytes < EgressRequest.longestHead else {
        throw EgressRefusal(.tooLong, "too_long", "The request's head is too long.")
      }
    }
  }

  private func connect(
    _ address: EgressAddress, _ port: Int, _ first: ByteBuffer, _ reader: EgressReader, _ record: inout EgressRecord
  ) async throws {
    let target: EgressProxy.Connection
    do {
      target = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        .connectTimeout(Self.patience)
        .connect(to: SocketAddress(packedIPAddress: ByteBuffer(bytes: address.bytes), port: port)) { channel in
          channel.eventLoop.makeCompletedFuture { try EgressProxy.wrap(channel) }
        }
    } catch {
      throw EgressRefusal(.unreachable, "unreachable", "The host cannot be reached.")
    }
    record.verdict = "allowed"
    let counts = Counts()
    defer {
      record.bytesOut = counts.out.load(ordering: .relaxed)
      record.bytesIn = counts.in.load(ordering: .relaxed)
    }
    try await target.executeThenClose { inbound, _ in
      try await client.writeAndFlush(ByteBuffer(string: "HTTP/1.1 200 Connection established\r\n\r\n"))
      if first.readableBytes > 0 {
        counts.out.add(first.readableBytes, ordering: .relaxed)
        try await target.channel.writeAndFlush(first)
      }
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask {
          while let bytes = try await reader.next() {
            counts.out.add(bytes.readableBytes, ordering: .relaxed)
            try await target.channel.writeAndFlush(bytes)
          }
          try await target.channel.close(mode: .output)
        }
        group.addTask {
          for try await bytes in inbound {
            counts.in.add(bytes.readableBytes, ordering: .relaxed)
            try await client.writeAndFlush(bytes)
          }
          try await client.close(mode: .output)
        }
        group.addTask { try await watch(counts) }
        // Both directions, or the first that fails; the watch never ends well.
        defer { group.cancelAll() }
        _ = try await group.next()
        _ = try await group.next()
      }
    }
  }

  /// Throws when nothing has passed for too long.
  private func watch(_ counts: Counts) async throws {
    var before = -1
    while true {
      let now = counts.out.load(ordering: .relaxed) + counts.in.load(ordering: .relaxed)
      guard now != before else { throw IdleTooLong() }
      before = now
      try await Task.sleep(for: proxy.idle)
    }
  }

  private struct IdleTooLong: Error {}

  private final class Counts: Sendable {
    let out = Atomic(0)
    let `in` = Atomic(0)
  }
}

/// The client's bytes after its CONNECT.
///
/// `@unchecked Sendable`: the iterator moves from the task that read the head to the one that pumps, and is never used
/// by two at once; NIO traps on a second iterator.
final class EgressReader: @unchecked Sendable {
  private var base: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator

  init(_ base: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator) { self.base = base }

  func next() async throws -> ByteBuffer? { try await base.next() }
}
