import NIOCore
import NIOWebSocket
import Testing

@testable import Ingress

/// RFC 6455's rules for a server, frame by frame.
struct WebSocketMachineTests {
  /// What a machine did, in words.
  private static func words(_ actions: [WebSocketMachine.Action]) -> [String] {
    actions.map { action in
      switch action {
      case .deliver(let message): "deliver \(String(buffer: message))"
      case .send(let frame):
        switch frame.opcode {
        case .connectionClose: "close \(frame.data.getInteger(at: frame.data.readerIndex, as: UInt16.self) ?? 0)"
        case .pong: "pong \(String(buffer: frame.data))"
        default: "send"
        }
      case .endInput: "end input"
      case .close: "end"
      case .awaitClose: "wait"
      case .closeOutput: "end output"
      }
    }
  }

  private static let key = WebSocketMaskingKey([1, 2, 3, 4])

  private static func frame(
    _ opcode: WebSocketOpcode, _ payload: [UInt8] = [], fin: Bool = true, rsv1: Bool = false, masked: Bool = true
  ) -> WebSocketFrame {
    var data = ByteBuffer(bytes: payload)
    if masked, let key { data.webSocketMask(key) }
    return WebSocketFrame(fin: fin, rsv1: rsv1, opcode: opcode, maskKey: masked ? key : nil, data: data)
  }

  private static func run(_ frames: [WebSocketFrame], limit: Int = 16) -> [String] {
    var machine = WebSocketMachine(limit: limit)
    return frames.flatMap { words(machine.receive($0)) }
  }

  @Test("a message is whole, however many frames it comes in, and whatever comes between them")
  func messages() {
    #expect(Self.run([Self.frame(.text, Array("one".utf8)), Self.frame(.text)]) == ["deliver one", "deliver "])
    #expect(
      Self.run([
        Self.frame(.text, Array("ä".utf8.prefix(1)), fin: false), Self.frame(.ping, [65]),
        Self.frame(.continuation, Array("ä".utf8.dropFirst()), fin: false), Self.frame(.pong),
        Self.frame(.continuation),
      ]) == ["pong A", "deliver ä"])
  }

  @Test("a message may be as long as the limit, in one frame or in many")
  func limit() {
    let half = [UInt8](repeating: 65, count: 8)
    #expect(Self.run([Self.frame(.text, half + half)]).count == 1)
    #expect(Self.run([Self.frame(.text, half, fin: false), Self.frame(.continuation, half)]).count == 1)
    let tooLarge = ["close 1009", "end input", "wait"]
    #expect(Self.run([Self.frame(.text, half + half + [65])]) == tooLarge)
    #expect(
      Self.run([Self.frame(.text, half, fin: false), Self.frame(.continuation, half + [65], fin: false)]) == tooLarge)
    var machine = WebSocketMachine(limit: 16)
    #expect(Self.words(machine.decodingFailed(.invalidFrameLength)) == tooLarge + ["end output"])
    #expect(Self.words(machine.decodingFailed(.invalidFrameLength)) == [])
  }

  private static let faults: [(WebSocketFrame, Int)] = [
    (frame(.text, masked: false), 1002), (frame(.text, rsv1: true), 1002), (frame(.continuation), 1002),
    (frame(WebSocketOpcode(encodedWebSocketOpcode: 3)!), 1002), (frame(.binary), 1003), (frame(.text, [0xFF]), 1007),
    (frame(.text, [0xED, 0xA0, 0x80]), 1007), (frame(.connectionClose, [3]), 1002),
    (frame(.connectionClose, [0x03, 0xED]), 1002), (frame(.connectionClose, [0x03, 0xE8, 0xFF]), 1007),
  ]

  @Test(
    "a fault ends the connection with its code; nothing behind it is read",
    arguments: WebSocketMachineTests.faults.indices)
  func endsWithCode(_ index: Int) {
    let (fault, code) = Self.faults[index]
    let behind = [Self.frame(.text, [65]), Self.frame(.ping), Self.frame(.connectionClose), Self.frame(.text, [65])]
    #expect(Self.run([fault] + behind) == ["close \(code)", "end input", "wait", "end"])
  }

  @Test("a message within another is none")
  func interleaved() {
    #expect(
      Self.run([Self.frame(.text, [65], fin: false), Self.frame(.text, [65])]) == ["close 1002", "end input", "wait"])
  }

  @Test("a client that closes is answered in its own words, once")
  func close() {
    #expect(Self.run([Self.frame(.connectionClose), Self.frame(.ping)]) == ["close 0", "end input", "end"])
    #expect(
      Self.run([Self.frame(.connectionClose, [0x0B, 0xB8, 65]), Self.frame(.text, [65])])
        == ["close 3000", "end input", "end"])
  }

  @Test("a server that closes says so once, and waits for the client to say so too")
  func end() {
    var machine = WebSocketMachine(limit: 16)
    #expect(machine.isOpen)
    #expect(Self.words(machine.end(.restart, "gone")) == ["close 1012", "end input", "wait"])
    #expect(!machine.isOpen)
    #expect(Self.words(machine.end(.normalClosure, "")) == [])
    #expect(Self.words(machine.receive(Self.frame(.text, [65]))) == [])
    #expect(Self.words(machine.receive(Self.frame(.connectionClose))) == ["end"])
    #expect(Self.words(machine.receive(Self.frame(.connectionClose))) == [])
  }
}
