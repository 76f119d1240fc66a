import Glibc
import ShimProtocol

/// One server's connection: what it has said so far, and what it has yet to be sent.
struct Connection {
  let descriptor: Int32
  var decoder = FrameDecoder()
  /// Nil until it has attached.
  var fence: Int64?
  /// The offset of the next output byte to send.
  var offset: Int64 = 0
  var exitSent = false
  private var pending: [UInt8] = []
  private var position = 0

  init(descriptor: Int32) { self.descriptor = descriptor }

  /// Output is taken from the spool only as fast as the server reads: what waits here is bounded.
  var isFull: Bool { pending.count - position > 256 << 10 }
  var hasPending: Bool { position < pending.count }

  mutating func send(_ frame: ShimFrame) {
    if position == pending.count {
      pending.removeAll(keepingCapacity: true)
      position = 0
    } else if position > 1 << 20 {
      // A server that is always a little behind must not make all that it was ever sent stay.
      pending.removeFirst(position)
      position = 0
    }
    pending.append(contentsOf: FrameCodec.encode(frame))
  }

  /// - Returns: false where the server is gone.
  mutating func flush() -> Bool {
    while position < pending.count {
      guard let count = Descriptors.write(descriptor, pending[position...]) else { return false }
      if count == 0 { return true }
      position += count
    }
    return true
  }
}
