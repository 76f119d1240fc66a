import NIOCore
import NIOHTTP1
import Synchronization

/// HTTP/1.1 on a Unix socket, one request a connection: connections there cost next to nothing, and one that is used
/// once is never idle when its server wants to end.
///
/// A request is read to its end before it is answered. An answer that cannot be finished is cut, so that no one takes
/// a piece for the whole.
struct UnixHTTP {
  struct Request: Sendable {
    var method: HTTPMethod
    var uri: String
    var headers: HTTPHeaders
    var body: ByteBuffer
    /// The body was longer than allowed; `body` is empty.
    var isTooLong: Bool
  }

  /// An answer on its way; `start`, any number of `write`, `end`.
  ///
  /// Each part is awaited until the system has it: the sandbox sets the pace, and nothing is left behind when the
  /// connection is closed after the end.
  struct Answer: Sendable {
    fileprivate let channel: any Channel

    func start(_ status: HTTPResponseStatus, _ headers: HTTPHeaders) async throws {
      var headers = headers
      headers.replaceOrAdd(name: "connection", value: "close")
      try await send(.head(HTTPResponseHead(version: .http1_1, status: status, headers: headers)))
    }

    func write(_ bytes: ByteBuffer) async throws { try await send(.body(.byteBuffer(bytes))) }

    func end() async throws { try await send(.end(nil)) }

    fileprivate func send(_ part: HTTPServerResponsePart) async throws { try await channel.writeAndFlush(part) }

    func send(_ status: HTTPResponseStatus, _ headers: HTTPHeaders = [:], body: [UInt8]) async throws {
      var headers = headers
      headers.replaceOrAdd(name: "content-length", value: String(body.count))
      headers.replaceOrAdd(name: "content-type", value: "application/json")
      try await start(status, headers)
      try await write(ByteBuffer(bytes: body))
      try await end()
    }
  }

  /// What requests of one socket may hold in memory together, in bytes.
  final class Budget: Sendable {
    private let left: Mutex<Int>

    init(_ bytes: Int) { left = Mutex(bytes) }

    fileprivate func take(_ bytes: Int) -> Bool {
      left.withLock { left in
        guard left >= bytes else { return false }
        left -= bytes
        return true
      }
    }

    fileprivate func giveBack(_ bytes: Int) { left.withLock { $0 += bytes } }
  }

  /// Of a connection: what a `UnixListener` is set up with. One whose peer is not admitted is closed.
  static func setUp(
    _ channel: any Channel, bodyLimit: Int, budget: Budget,
    admits: @escaping @Sendable (any Channel) async -> Bool = { _ in true },
    _ handle: @escaping @Sendable (Request, Answer) async throws -> Void
  ) throws -> @Sendable () async -> Void {
    try channel.pipeline.syncOperations.configureHTTPServerPipeline(withPipeliningAssistance: false)
    let connection = try NIOAsyncChannel<HTTPServerRequestPart, HTTPServerResponsePart>(
      wrappingChannelSynchronously: channel)
    return {
      // What goes wrong with one connection is its peer's to see: it is cut.
      try? await connection.executeThenClose { inbound, _ in
        // In here, also for a connection that is not wanted: NIO traps where one is dropped without having been served.
        guard await admits(channel) else { return }
        let answer = Answer(channel: channel)
        var taken = 0
        defer { budget.giveBack(taken) }
        guard let request = try await read(inbound, answer, limit: bodyLimit, budget, &taken) else { return }
        try await handle(request, answer)
      }
    }
  }

  private static func read(
    _ inbound: NIOAsyncChannelInboundStream<HTTPServerRequestPart>, _ answer: Answer, limit: Int, _ budget: Budget,
    _ taken: inout Int
  ) async throws -> Request? {
    var request: Request?
    var count = 0
    for try await part in inbound {
      switch part {
      case .head(let head):
        request = Request(
          method: head.method, uri: head.uri, headers: head.headers, body: ByteBuffer(), isTooLong: false)
        if head.headers["expect"].contains(where: { $0.lowercased() == "100-continue" }) {
          try await answer.send(.head(HTTPResponseHead(version: .http1_1, status: .continue)))
        }
      case .body(var bytes):
        count += bytes.readableBytes
        let size = bytes.readableBytes
        if request?.isTooLong == false, count <= limit, budget.take(size) {
          taken += size
          request?.body.writeBuffer(&bytes)
        } else {
          request?.isTooLong = true
          request?.body = ByteBuffer()
          // A sender that is still at it would not read a refusal; one that never ends is cut.
          guard count <= limit + max(limit, 1 << 20) else { return nil }
        }
      case .end: return request
      }
    }
    return nil
  }
}
