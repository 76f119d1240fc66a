import NIOCore
import NIOPosix
import Synchronization

/// A provider on a port of its own that does on each connection what the test says: it sees bytes, and sends bytes.
final class ScriptedProvider: Sendable {
  private let channel: any Channel
  private let heard: Heard

  private final class Heard: Sendable {
    let heads = Mutex<[String]>([])
  }

  private init(channel: any Channel, heard: Heard) {
    self.channel = channel
    self.heard = heard
  }

  static func start(
    _ script: @escaping @Sendable (inout Conversation) async throws -> Void
  ) async throws -> ScriptedProvider {
    let heard = Heard()
    let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          let connection = try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
          Task {
            try await connection.executeThenClose { inbound, _ in
              var conversation = Conversation(channel: channel, iterator: inbound.makeAsyncIterator()) { head in
                heard.heads.withLock { $0.append(head) }
              }
              try await script(&conversation)
            }
          }
        }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    return ScriptedProvider(channel: channel, heard: heard)
  }

  var port: Int { channel.localAddress?.port ?? 0 }
  var url: String { "http://127.0.0.1:\(port)" }

  /// The heads of requests that came.
  var heads: [String] { heard.heads.withLock { $0 } }

  func close() async throws { try await channel.close() }

  struct Conversation {
    private let channel: any Channel
    private var iterator: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
    private let note: @Sendable (String) -> Void
    private var bytes = ByteBuffer()

    init(
      channel: any Channel, iterator: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator,
      note: @escaping @Sendable (String) -> Void
    ) {
      self.channel = channel
      self.iterator = iterator
      self.note = note
    }

    /// Reads a request's head, and its body.
    @discardableResult
    mutating func request() async throws -> String {
      let head = try await head()
      let field = head.split(separator: "\r\n").first { $0.lowercased().hasPrefix("content-length:") }
      let length = field.flatMap { Int($0.split(separator: ":")[1].drop { $0 == " " }) } ?? 0
      while bytes.readableBytes < length, var piece = try await iterator.next() { bytes.writeBuffer(&piece) }
      return head
    }

    @discardableResult
    mutating func head() async throws -> String {
      while true {
        let text = String(buffer: bytes)
        if let end = text.firstRange(of: "\r\n\r\n") {
          let head = String(text[..<end.lowerBound])
          bytes.moveReaderIndex(forwardBy: head.utf8.count + 4)
          note(head)
          return head
        }
        guard var piece = try await iterator.next() else { return "" }
        bytes.writeBuffer(&piece)
      }
    }

    func send(_ text: String) async throws { try await channel.writeAndFlush(ByteBuffer(string: text)) }

    func sendStreamHead() async throws {
      try await send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    }

    func sendEvent(_ data: String) async throws {
      let text = "data: \(data)\n\n"
      try await send("\(String(text.utf8.count, radix: 16))\r\n\(text)\r\n")
    }

    func endStream() async throws { try await send("0\r\n\r\n") }

    /// Waits for the other side to close.
    mutating func untilClosed() async throws { while try await iterator.next() != nil {} }
  }
}

/// Something that happens once, and that a test waits for.
struct Happening: Sendable {
  private let stream: AsyncStream<Void>
  private let continuation: AsyncStream<Void>.Continuation

  init() { (stream, continuation) = AsyncStream.makeStream() }

  func happened() { continuation.finish() }
  func wait() async { for await _ in stream {} }
}
