import NIOCore
import NIOWebSocket

/// The server's side of a WebSocket (RFC 6455) as a pure state machine: frames in, actions out.
///
/// Text messages only, and no extension: what a client sends otherwise ends the connection with the code for it. Each
/// method says what to do, in order; `WebSocketMessages` does it.
struct WebSocketMachine {
  enum Action {
    /// A whole message, in UTF-8.
    case deliver(ByteBuffer)
    case send(WebSocketFrame)
    /// No message follows.
    case endInput
    /// Both sides have said that they close, or the other will not be waited for: the connection ends.
    case close
    /// We have said that we close: the other side has a moment to say so too.
    case awaitClose
    /// What the other side says cannot be read any more: it sees our end, and has a moment to come to its own.
    case closeOutput
  }

  private enum State {
    case open
    /// We have said that we close. What still comes is not read.
    case closing
    case closed
  }

  /// Of a message, in bytes, however many frames it comes in.
  private let limit: Int
  private var state = State.open
  /// The message whose last frame is yet to come.
  private var message: ByteBuffer?

  init(limit: Int) { self.limit = limit }

  /// Whether messages may be sent.
  var isOpen: Bool { if case .open = state { true } else { false } }

  mutating func receive(_ frame: WebSocketFrame) -> [Action] {
    switch state {
    case .closed: return []
    case .closing:
      guard frame.opcode == .connectionClose else { return [] }
      state = .closed
      return [.close]
    case .open: break
    }
    guard frame.maskKey != nil else { return end(.protocolError, "A client's frames are masked.") }
    guard !frame.rsv1, !frame.rsv2, !frame.rsv3 else {
      return end(.protocolError, "No extension was agreed upon.")
    }
    switch frame.opcode {
    case .text:
      guard message == nil else { return end(.protocolError, "The message before has no end.") }
      return add(frame, to: ByteBuffer())
    case .continuation:
      guard let begun = message else { return end(.protocolError, "There is no message to go on with.") }
      // Taken out while it grows, so that it is not copied with each frame.
      message = nil
      return add(frame, to: begun)
    case .binary: return end(.unacceptableData, "Messages are text.")
    case .ping: return [.send(WebSocketFrame(fin: true, opcode: .pong, data: frame.unmaskedData))]
    case .pong: return []
    case .connectionClose: return answerClose(frame.unmaskedData)
    default: return end(.protocolError, "There is no such kind of frame.")
    }
  }

  private mutating func add(_ frame: WebSocketFrame, to begun: ByteBuffer) -> [Action] {
    guard begun.readableBytes + frame.length <= limit else { return tooLarge() }
    var data = frame.unmaskedData
    var whole = begun
    if whole.readableBytes == 0 { whole = data } else { whole.writeBuffer(&data) }
    guard frame.fin else {
      message = whole
      return []
    }
    guard String(validating: whole.readableBytesView, as: UTF8.self) != nil else {
      return end(.dataInconsistentWithMessage, "A message is UTF-8.")
    }
    return [.deliver(whole)]
  }

  /// The other side closes: it is told that we heard, in its own words where they are such as it may use.
  private mutating func answerClose(_ payload: ByteBuffer) -> [Action] {
    var payload = payload
    guard payload.readableBytes > 0 else {
      state = .closed
      return [.send(WebSocketFrame(fin: true, opcode: .connectionClose, data: ByteBuffer())), .endInput, .close]
    }
    guard let code = payload.readInteger(as: UInt16.self), Self.mayBeSent(code) else {
      return end(.protocolError, "A connection is not closed with that code.")
    }
    guard String(validating: payload.readableBytesView, as: UTF8.self) != nil else {
      return end(.dataInconsistentWithMessage, "The reason is UTF-8.")
    }
    state = .closed
    return [.send(Self.closeFrame(WebSocketErrorCode(codeNumber: Int(code)), "")), .endInput, .close]
  }

  /// RFC 6455 §7.4: others are reserved, or stand for what is never sent.
  private static func mayBeSent(_ code: UInt16) -> Bool {
    switch code {
    case 1000...1003, 1007...1014, 3000...4999: true
    default: false
    }
  }

  /// The frames could not be told apart.
  mutating func decodingFailed(_ error: NIOWebSocketError) -> [Action] {
    guard isOpen else { return [] }
    return endUnread(error) + [.closeOutput]
  }

  private mutating func endUnread(_ error: NIOWebSocketError) -> [Action] {
    switch error {
    case .invalidFrameLength: tooLarge()
    case .fragmentedControlFrame, .multiByteControlFrameLength:
      end(.protocolError, "A control frame is short and whole.")
    }
  }

  private mutating func tooLarge() -> [Action] {
    end(.messageTooLarge, "A message may have \(limit) bytes.")
  }

  /// We close. What was sent before has gone, and nothing follows.
  /// - Parameter reason: ASCII, under 123 bytes
  mutating func end(_ code: WebSocketErrorCode, _ reason: String) -> [Action] {
    guard case .open = state else { return [] }
    state = .closing
    message = nil
    return [.send(Self.closeFrame(code, reason)), .endInput, .awaitClose]
  }

  private static func closeFrame(_ code: WebSocketErrorCode, _ reason: String) -> WebSocketFrame {
    var data = ByteBuffer()
    data.write(webSocketErrorCode: code)
    data.writeString(reason)
    return WebSocketFrame(fin: true, opcode: .connectionClose, data: data)
  }
}
