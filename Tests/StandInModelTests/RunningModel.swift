import AsyncHTTPClient
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import SessionModel
import StandInModel
import Testing

/// A stand-in model that serves on a port of its own while a test runs.
struct RunningModel: Sendable {
  let port: Int

  private var url: String { "http://127.0.0.1:\(port)" }

  static func with<T: Sendable>(_ body: (RunningModel) async throws -> T) async throws -> T {
    let listening = AsyncStream.makeStream(of: Int.self)
    let server = StandInModelServer(host: "127.0.0.1", port: 0, logger: Logger(label: "stand-in")) { port in
      listening.continuation.yield(port)
      listening.continuation.finish()
    }
    return try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        defer { listening.continuation.finish() }
        try await server.run()
      }
      defer { group.cancelAll() }
      var port: Int?
      for await number in listening.stream { port = number }
      return try await body(RunningModel(port: try #require(port)))
    }
  }

  struct Answer: Sendable {
    var status: UInt
    var isScripted: Bool
    var type: String?
    var bytes: [UInt8]
    /// Whether the answer came to its end.
    var isWhole: Bool

    var json: JSONValue { get throws { try JSONValue(parsing: bytes) } }

    /// The data of a stream's events; each event's name is its data's type.
    var events: [JSONValue] {
      String(decoding: bytes, as: UTF8.self).split(separator: "\n\n").compactMap { frame in
        let lines = frame.split(separator: "\n", maxSplits: 1)
        guard lines.count == 2, lines[1].hasPrefix("data: "),
          let data = try? JSONValue(parsing: String(lines[1].dropFirst(6)))
        else {
          Issue.record("no event: \(frame)")
          return nil
        }
        #expect(lines[0] == "event: \(data["type"]?.string ?? "")")
        return data
      }
    }
  }

  func request(_ method: String, _ path: String, _ body: [UInt8] = []) async throws -> Answer {
    var request = HTTPClientRequest(url: url + path)
    request.method = .init(rawValue: method)
    // A connection that stays open would keep the server from ending.
    request.headers.add(name: "connection", value: "close")
    if !body.isEmpty { request.body = .bytes(body) }
    let response = try await HTTPClient.shared.execute(request, timeout: .seconds(30))
    var answer = Answer(
      status: response.status.code, isScripted: response.headers["x-stand-in-model"] == ["scripted"],
      type: response.headers.first(name: "content-type"), bytes: [], isWhole: false)
    do {
      for try await piece in response.body { answer.bytes += piece.readableBytesView }
      answer.isWhole = true
    } catch {
      // The script has cut the connection.
    }
    return answer
  }

  /// All that comes back before the connection ends, head and body as they are on the wire: what a client library makes
  /// of an answer that is cut is its own affair.
  func raw(_ path: String, _ body: JSONValue) async throws -> String {
    let connection = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .connect(host: "127.0.0.1", port: port) { channel in
        channel.eventLoop.makeCompletedFuture {
          try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
        }
      }
    return try await connection.executeThenClose { inbound, outbound in
      let bytes = body.serialized
      let head = "POST \(path) HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: \(bytes.count)\r\n\r\n"
      try await outbound.write(ByteBuffer(bytes: Array(head.utf8) + bytes))
      var answer: [UInt8] = []
      for try await piece in inbound { answer += piece.readableBytesView }
      return String(decoding: answer, as: UTF8.self)
    }
  }

  func responses(_ body: JSONValue) async throws -> Answer {
    try await request("POST", "/v1/responses", body.serialized)
  }

  func messages(_ body: JSONValue) async throws -> Answer {
    try await request("POST", "/v1/messages", body.serialized)
  }
}

extension JSONValue {
  /// A user's text with a script in it.
  static func script(_ steps: JSONValue...) -> JSONValue {
    .string("[[\((["steps": .array(steps)] as JSONValue).text)]]")
  }

  /// The types of a list of objects.
  var types: [String] { array?.compactMap { $0["type"]?.string } ?? [] }
}
