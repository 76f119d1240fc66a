import Foundation
import Glibc
import NIOCore
import NIOPosix
import Testing

/// The way of a model call out of the sandbox: what is lost or kept back here is a turn that hangs or fails.
@Suite(.timeLimit(.minutes(30)))
struct ForwarderTests {
  private typealias Link = NIOAsyncChannel<ByteBuffer, ByteBuffer>

  private let directory: SandboxDirectory

  init() throws { directory = try SandboxDirectory() }

  private var gateway: String { "\(directory.root)/gateway" }

  private static let halfClosing = Link.Configuration(isOutboundHalfClosureEnabled: true)

  /// Serves the gateway's socket, each connection with `answer`, while `body` runs.
  private func withGateway(
    _ answer: @escaping @Sendable (inout AsyncBytes, Way) async throws -> Void,
    _ body: () async throws -> Void
  ) async throws {
    let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelOption(.allowRemoteHalfClosure, value: true)
      .bind(unixDomainSocketPath: gateway, cleanupExistingSocketFile: true) { channel in
        channel.eventLoop.makeCompletedFuture {
          try Link(wrappingChannelSynchronously: channel, configuration: Self.halfClosing)
        }
      }
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        try await server.executeThenClose { connections in
          try await withThrowingDiscardingTaskGroup { group in
            for try await connection in connections {
              group.addTask {
                try await connection.executeThenClose { inbound, _ in
                  var bytes = AsyncBytes(inbound)
                  try await answer(&bytes, Way(channel: connection.channel))
                }
              }
            }
          }
        }
      }
      try await body()
      group.cancelAll()
    }
  }

  /// Runs the forwarder under a command that only tells the port, and `body` with that port.
  private func withForwarder(_ body: (Int) async throws -> Void) async throws {
    let told = "\(directory.root)/port-\(UInt32.random(in: 0 ... .max))"
    try #require(mkfifo(told, 0o600) == 0)
    let command = ["/bin/sh", "-c", "echo @p@ > \(told); exec sleep 600"]
    let forwarder = try ShimBinary.start(["forward", "--to", "@p@=\(gateway)", "--"] + command)
    let result = await Result {
      let text = try await readToEnd(told)
      try await body(try #require(Int(text.trimmingCharacters(in: .whitespacesAndNewlines))))
    }
    kill(forwarder, SIGTERM)
    _ = await ShimBinary.end(of: forwarder)
    try result.get()
  }

  private func connect(
    _ port: Int, _ body: @Sendable (inout AsyncBytes, Way) async throws -> Void
  ) async throws {
    let link = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .channelOption(.allowRemoteHalfClosure, value: true)
      .connect(host: "127.0.0.1", port: port) { channel in
        channel.eventLoop.makeCompletedFuture {
          try Link(wrappingChannelSynchronously: channel, configuration: Self.halfClosing)
        }
      }
    let channel = link.channel
    try await link.executeThenClose { inbound, _ in
      var bytes = AsyncBytes(inbound)
      try await body(&bytes, Way(channel: channel))
    }
  }

  @Test("a request that ends with a half-close is answered, and the answer's end arrives")
  func halfClose() async throws {
    try await withGateway { request, answer in
      let text = String(decoding: try await request.toEnd(), as: UTF8.self)
      try await answer.write(ByteBuffer(string: "you said \(text)"))
      try await answer.end()
    } _: {
      try await withForwarder { port in
        try await connect(port) { answer, request in
          try await request.write(ByteBuffer(string: "he"))
          try await request.write(ByteBuffer(string: "llo"))
          try await request.end()
          #expect(String(decoding: try await answer.toEnd(), as: UTF8.self) == "you said hello")
        }
      }
    }
  }

  @Test("an answer that ends first leaves the request's way open")
  func answerEndsFirst() async throws {
    let late = AsyncStream.makeStream(of: [UInt8].self)
    try await withGateway { request, answer in
      try await answer.write(ByteBuffer(string: "early"))
      try await answer.end()
      late.continuation.yield(try await request.toEnd())
    } _: {
      try await withForwarder { port in
        try await connect(port) { answer, request in
          #expect(String(decoding: try await answer.toEnd(), as: UTF8.self) == "early")
          try await request.write(ByteBuffer(string: "late"))
          try await request.end()
          for await bytes in late.stream {
            #expect(String(decoding: bytes, as: UTF8.self) == "late")
            break
          }
        }
      }
    }
  }

  @Test("each piece of a stream is passed on when it comes, not when the next one does")
  func pieces() async throws {
    try await withGateway { request, answer in
      while let piece = try await request.next() { try await answer.write(piece) }
      try await answer.end()
    } _: {
      try await withForwarder { port in
        try await connect(port) { answer, request in
          for number in 0..<50 {
            try await request.write(ByteBuffer(string: "data: \(number)\n\n"))
            let expected = Array("data: \(number)\n\n".utf8)
            #expect(try await answer.read(expected.count) == expected)
          }
          try await request.end()
          #expect(try await answer.toEnd().isEmpty)
        }
      }
    }
  }

  @Test("much goes both ways at once, on several connections, and arrives as it was sent")
  func much() async throws {
    try await withGateway { request, answer in
      while let piece = try await request.next() { try await answer.write(piece) }
      try await answer.end()
    } _: {
      try await withForwarder { port in
        try await withThrowingTaskGroup(of: Void.self) { group in
          for connection in UInt8(0)..<4 {
            group.addTask {
              let sent = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 >> 8) ^ UInt8(truncatingIfNeeded: $0) }
              try await connect(port) { answer, request in
                async let sending: Void = {
                  try await request.write(ByteBuffer(bytes: [connection] + sent))
                  try await request.end()
                }()
                let received = try await answer.toEnd()
                try await sending
                #expect(received.count == sent.count + 1)
                #expect(received.first == connection && received.dropFirst() == sent[...])
              }
            }
          }
          try await group.waitForAll()
        }
      }
    }
  }

  @Test("a call that comes while the gateway is being replaced waits for the next one, and is served whole")
  func waitsForGateway() async throws {
    let came = AsyncStream.makeStream(of: Never.self)
    let served = AsyncStream.makeStream(of: Never.self)
    try await withForwarder { port in
      async let gateway: Void = {
        // Only the forwarder is there to take the call: what it has taken it keeps.
        for await _ in came.stream {}
        try await withGateway { request, answer in
          try await answer.write(ByteBuffer(bytes: try await request.read(5)))
          try await answer.end()
          served.continuation.finish()
        } _: {
          for await _ in served.stream {}
        }
      }()
      try await connect(port) { answer, request in
        try await request.write(ByteBuffer(string: "early"))
        came.continuation.finish()
        #expect(String(decoding: try await answer.toEnd(), as: UTF8.self) == "early")
      }
      try await gateway
    }
  }

  @Test("while one call waits for a gateway, another that has one goes on")
  func waitingHoldsNobodyUp() async throws {
    try await withForwarder { port in
      try await withGateway { request, answer in
        while let piece = try await request.next() { try await answer.write(piece) }
        try await answer.end()
      } _: {
        try await connect(port) { answer, request in
          try await request.write(ByteBuffer(string: "before"))
          #expect(try await answer.read(6) == Array("before".utf8))
          // Its connections live on where its name is gone.
          try #require(unlink(gateway) == 0)
          let waiting = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: "127.0.0.1", port: port).get()
          try await request.write(ByteBuffer(string: "after"))
          #expect(try await answer.read(5) == Array("after".utf8))
          try await waiting.close()
        }
      }
    }
  }

  @Test("a call for which no gateway comes is ended, and the next one is served when there is a gateway again")
  func noGateway() async throws {
    try await withForwarder { port in
      try await connect(port) { answer, _ in
        let received = (try? await answer.toEnd()) ?? []
        #expect(received.isEmpty)
      }
      try await withGateway { request, answer in
        try await answer.write(ByteBuffer(bytes: try await request.toEnd()))
        try await answer.end()
      } _: {
        try await connect(port) { answer, request in
          try await request.write(ByteBuffer(string: "again"))
          try await request.end()
          #expect(String(decoding: try await answer.toEnd(), as: UTF8.self) == "again")
        }
      }
    }
  }
}

/// The way out of one end. What was written has left when `write` returns: a channel that is closed drops what it holds.
private struct Way: Sendable {
  let channel: any Channel

  func write(_ bytes: ByteBuffer) async throws { try await channel.writeAndFlush(bytes) }

  /// Says that no more comes; the other way stays open.
  func end() async throws { try await channel.close(mode: .output) }
}

/// Bytes as they come in, for one reader.
private struct AsyncBytes {
  private var iterator: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
  private var left = ByteBuffer()

  init(_ stream: NIOAsyncChannelInboundStream<ByteBuffer>) { iterator = stream.makeAsyncIterator() }

  /// The next piece; nil at the end.
  mutating func next() async throws -> ByteBuffer? { try await iterator.next() }

  mutating func read(_ count: Int) async throws -> [UInt8] {
    while left.readableBytes < count, var piece = try await iterator.next() { left.writeBuffer(&piece) }
    return left.readBytes(length: min(count, left.readableBytes)) ?? []
  }

  mutating func toEnd() async throws -> [UInt8] {
    while var piece = try await iterator.next() { left.writeBuffer(&piece) }
    return left.readBytes(length: left.readableBytes) ?? []
  }
}

extension Result where Failure == any Error {
  fileprivate init(_ body: () async throws -> Success) async {
    do { self = .success(try await body()) } catch { self = .failure(error) }
  }
}
