import HTTPTypes
import NIOCore
import NIOEmbedded
import NIOHTTPTypes
import SessionModel
import Testing

@testable import Ingress

/// How long a request may take to arrive. A failure here means that clients which say one byte now and then hold the
/// server's connections and memory for ever, or that one who waits for somebody else's answer is cut off for it.
struct RequestTimeTests {
  private static let limit = Duration.seconds(60)

  /// A connection of its own, whose clock stands still until it is told.
  private final class Connection {
    let channel = EmbeddedChannel(handler: RequestTimeLimit(limit))

    init() throws { try channel.connect(to: SocketAddress(unixDomainSocketPath: "/client")).wait() }

    func begin(_ fields: HTTPFields = [:], method: HTTPRequest.Method = .post) throws {
      try read(.head(HTTPRequest(method: method, scheme: nil, authority: "x", path: "/", headerFields: fields)))
    }

    func more() throws { try read(.body(ByteBuffer(string: "x"))) }
    func end() throws { try read(.end(nil)) }

    private func read(_ part: HTTPRequestPart) throws { try channel.writeInbound(part) }

    func answer() throws {
      try channel.writeOutbound(HTTPResponsePart.head(HTTPResponse(status: .ok)))
      try channel.writeOutbound(HTTPResponsePart.end(nil))
    }

    /// What whoever reads the body is told once so much time has passed; nil: nothing.
    func wait(_ seconds: Int64) -> CentaurError? {
      channel.embeddedEventLoop.advanceTime(by: .seconds(seconds))
      do {
        try channel.throwIfErrorCaught()
        return nil
      } catch { return error as? CentaurError }
    }
  }

  @Test("a body that comes byte by byte is given up when its time is over, however steadily it comes")
  func slowBody() throws {
    let connection = try Connection()
    try connection.begin()
    for _ in 0..<59 {
      try connection.more()
      #expect(connection.wait(1) == nil)
    }
    let error = connection.wait(1)
    #expect(error?.code == .requestTimeout && error?.status == .requestTimeout)
    #expect(error?.message.contains("60 seconds") == true)
    // The answer is the connection's last.
    try connection.answer()
    guard case .head(let response)? = try connection.channel.readOutbound(as: HTTPResponsePart.self) else {
      return #expect(Bool(false), "there was no answer")
    }
    #expect(response.headerFields[.connection] == "close")
    #expect(!connection.channel.isActive)
  }

  @Test("one that nobody answers is cut off a little later")
  func unanswered() throws {
    let connection = try Connection()
    try connection.begin()
    #expect(connection.wait(60)?.code == .requestTimeout)
    #expect(connection.wait(10) == nil && !connection.channel.isActive)
  }

  @Test("a request that is whole in time, at the last moment too, may take as long as it likes to be answered")
  func inTime() throws {
    let connection = try Connection()
    for _ in 0..<3 {
      try connection.begin()
      #expect(connection.wait(59) == nil)
      try connection.end()
      #expect(connection.wait(7200) == nil)
      try connection.answer()
      #expect(connection.wait(7200) == nil && connection.channel.isActive)
    }
  }

  @Test("a request that is answered before it is whole is not read for ever either")
  func answeredEarly() throws {
    let connection = try Connection()
    try connection.begin()
    #expect(connection.wait(30) == nil)
    try connection.answer()
    #expect(connection.wait(29) == nil)
    #expect(connection.wait(1)?.code == .requestTimeout)
  }

  @Test("the time of a request that waits behind another's answer does not go on")
  func waitsItsTurn() throws {
    let connection = try Connection()
    try connection.begin()
    try connection.end()
    try connection.begin()
    #expect(connection.wait(7200) == nil)
    try connection.answer()
    #expect(connection.wait(59) == nil)
    #expect(connection.wait(1)?.code == .requestTimeout)
  }

  @Test("a WebSocket's messages are no body that is to end")
  func webSocket() throws {
    let connection = try Connection()
    try connection.begin([.connection: "upgrade", .upgrade: "websocket"], method: .get)
    #expect(connection.wait(7200) == nil && connection.channel.isActive)
  }
}
