import NIOCore
import NIOWebSocket
import SessionModel

@testable import Ingress
@testable import ResponsesIngress

/// A WebSocket's messages, where the first byte is `m`, and its frames, where it is `f`: of each a byte for what it is, a
/// byte for its length, and so many bytes.
enum SocketTarget {
  static func check(_ input: [UInt8]) throws {
    switch input.first {
    case UInt8(ascii: "m"): try message(ByteBuffer(bytes: input.dropFirst()))
    case UInt8(ascii: "f"): try frames(input.dropFirst())
    default: return
    }
  }

  private static func message(_ bytes: ByteBuffer) throws {
    do {
      let message = try SocketMessage(bytes)
      try require(!Lines.breaks(message.steerFailed.serialized), "an answer that ends a line")
    } catch let error as SocketMessage.Refused {
      let told = ResponsesError.message(error.error, stream: error.lane)
      try require(!Lines.breaks(told.readableBytesView), "an error that ends a line")
      try require(told.readableBytes < 4000, "an error of \(told.readableBytes) bytes")
    }
  }

  private static let limit = 300

  private static func frames(_ script: ArraySlice<UInt8>) throws {
    var machine = WebSocketMachine(limit: limit)
    var (closes, hasEnded, isClosed) = (0, false, false)
    var rest = script
    while let head = rest.popFirst() {
      // NIO lets no other control frame pass than a short and whole one.
      let isControl = head & 0x08 != 0
      let length = Int(rest.popFirst() ?? 0)
      let payload = rest.prefix(isControl ? min(length, 125) : length)
      rest = rest.dropFirst(payload.count)
      let frame = WebSocketFrame(
        fin: isControl || head & 0x80 != 0, rsv1: head & 0x40 != 0,
        opcode: WebSocketOpcode(encodedWebSocketOpcode: head & 0x0F) ?? .text,
        maskKey: head & 0x10 == 0 ? [1, 2, 3, 4] : nil, data: ByteBuffer(bytes: payload))
      for action in machine.receive(frame) {
        switch action {
        case .deliver(let message):
          try require(!hasEnded, "a message behind the end")
          try require(message.readableBytes <= limit, "a message of \(message.readableBytes) bytes")
          try require(
            String(validating: message.readableBytesView, as: UTF8.self) != nil, "a message that is no text")
        case .send(let frame):
          try require(!isClosed && closes == 0, "a frame behind the last")
          try require(frame.maskKey == nil && frame.data.readableBytes <= 125, "a frame that no server sends")
          if frame.opcode == .connectionClose { closes += 1 }
        case .endInput: hasEnded = true
        case .close, .awaitClose, .closeOutput: isClosed = true
        }
      }
      try require(machine.isOpen == (closes == 0), "a machine that does not know whether it has closed")
    }
  }
}
