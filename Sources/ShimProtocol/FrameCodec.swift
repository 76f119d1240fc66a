/// Frames on the wire: four bytes of length (big-endian, of what follows), one byte of kind, then the fields. Numbers
/// are eight bytes big-endian, strings and byte runs carry their length in front.
public enum FrameCodec {
  /// The longest frame, in bytes: a turn's input with its images.
  public static let maximumLength = 128 << 20

  private enum Kind: UInt8 {
    case attach = 1
    case input = 2
    case signal = 3
    case release = 4
    case stop = 5
    case keep = 6
    case sweep = 7
    case hello = 65
    case output = 66
    case accepted = 67
    case exited = 68
    case refused = 69
    case swept = 70
  }

  public static func encode(_ frame: ServerFrame) -> [UInt8] {
    var writer = FrameWriter()
    switch frame {
    case .attach(let fence, let offset):
      writer.begin(Kind.attach.rawValue)
      writer.write(fence)
      writer.write(offset)
    case .input(let id, let bytes, let closesInput):
      writer.begin(Kind.input.rawValue, reserving: bytes.count + id.utf8.count + 32)
      writer.write(id)
      writer.write(closesInput ? 1 : 0)
      writer.write(bytes)
    case .signal(let number):
      writer.begin(Kind.signal.rawValue)
      writer.write(Int64(number))
    case .release(let offset):
      writer.begin(Kind.release.rawValue)
      writer.write(offset)
    case .keep: writer.begin(Kind.keep.rawValue)
    case .sweep: writer.begin(Kind.sweep.rawValue)
    case .stop: writer.begin(Kind.stop.rawValue)
    }
    return writer.finish()
  }

  public static func encode(_ frame: ShimFrame) -> [UInt8] {
    var writer = FrameWriter()
    switch frame {
    case .hello(let hello):
      writer.begin(Kind.hello.rawValue)
      for number in [Int64(hello.version), Int64(hello.shimPID), Int64(hello.harnessPID)] { writer.write(number) }
      writer.write(hello.spoolStart)
      writer.write(hello.spoolEnd)
      writer.write(Int64(hello.takenInputIDs.count))
      for id in hello.takenInputIDs { writer.write(id) }
    case .output(let offset, let bytes):
      writer.begin(Kind.output.rawValue, reserving: bytes.count + 32)
      writer.write(offset)
      writer.write(bytes)
    case .accepted(let id):
      writer.begin(Kind.accepted.rawValue)
      writer.write(id)
    case .exited(let exit):
      writer.begin(Kind.exited.rawValue)
      writer.write(exit.status.map(Int64.init) ?? -1)
      writer.write(exit.signal.map(Int64.init) ?? -1)
      writer.write(exit.stderrTail)
      if exit.lostOutput { writer.write(byte: 1) }
    case .swept: writer.begin(Kind.swept.rawValue)
    case .refused(let reason):
      writer.begin(Kind.refused.rawValue)
      writer.write(reason)
    }
    return writer.finish()
  }

  /// - Throws: `ShimFrameError`
  static func serverFrame(_ body: ArraySlice<UInt8>) throws -> ServerFrame {
    var reader = FrameReader(body)
    switch Kind(rawValue: try reader.byte()) {
    case .attach: return .attach(fence: try reader.number(), offset: try reader.number())
    case .input:
      let id = try reader.string()
      let closes = try reader.number() != 0
      return .input(id: id, bytes: try reader.bytes(), closesInput: closes)
    case .signal: return .signal(Int32(truncatingIfNeeded: try reader.number()))
    case .release: return .release(offset: try reader.number())
    case .keep: return .keep
    case .sweep: return .sweep
    case .stop: return .stop
    default: throw ShimFrameError(reason: "an unknown kind of frame")
    }
  }

  /// - Throws: `ShimFrameError`
  static func shimFrame(_ body: ArraySlice<UInt8>) throws -> ShimFrame {
    var reader = FrameReader(body)
    switch Kind(rawValue: try reader.byte()) {
    case .hello:
      let version = Int32(truncatingIfNeeded: try reader.number())
      let shim = Int32(truncatingIfNeeded: try reader.number())
      let harness = Int32(truncatingIfNeeded: try reader.number())
      let start = try reader.number()
      let end = try reader.number()
      let count = try reader.number()
      var ids: [String] = []
      var read: Int64 = 0
      while read < count {
        ids.append(try reader.string())
        read += 1
      }
      return .hello(
        ShimHello(
          version: version, shimPID: shim, harnessPID: harness, spoolStart: start, spoolEnd: end, takenInputIDs: ids))
    case .output: return .output(offset: try reader.number(), bytes: try reader.bytes())
    case .accepted: return .accepted(id: try reader.string())
    case .exited:
      let status = try reader.number()
      let signal = try reader.number()
      return .exited(
        ShimExit(
          status: status < 0 ? nil : Int32(clamping: status),
          signal: signal < 0 ? nil : Int32(clamping: signal), stderrTail: try reader.string(),
          // An older shim does not say.
          lostOutput: try reader.isAtEnd ? false : reader.byte() != 0))
    case .swept: return .swept
    case .refused: return .refused(reason: try reader.string())
    default: throw ShimFrameError(reason: "an unknown kind of frame")
    }
  }
}

/// Cuts a byte stream into frames.
public struct FrameDecoder: Sendable {
  private var buffer: [UInt8] = []
  private var start = 0

  public init() {}

  public mutating func append(_ bytes: some Sequence<UInt8>) {
    if start > 0, start == buffer.count {
      buffer.removeAll(keepingCapacity: true)
      start = 0
    } else if start > 1 << 20 {
      buffer.removeFirst(start)
      start = 0
    }
    buffer.append(contentsOf: bytes)
  }

  /// The next frame of a server, once it is whole.
  /// - Throws: `ShimFrameError`
  public mutating func nextServerFrame() throws -> ServerFrame? { try next().map(FrameCodec.serverFrame) }

  /// The next frame of a shim, once it is whole.
  /// - Throws: `ShimFrameError`
  public mutating func nextShimFrame() throws -> ShimFrame? { try next().map(FrameCodec.shimFrame) }

  private mutating func next() throws -> ArraySlice<UInt8>? {
    guard buffer.count - start >= 4 else { return nil }
    let length = buffer[start..<start + 4].reduce(0) { $0 << 8 | Int($1) }
    guard length > 0, length <= FrameCodec.maximumLength else {
      throw ShimFrameError(reason: "a frame of \(length) bytes")
    }
    guard buffer.count - start - 4 >= length else { return nil }
    defer { start += 4 + length }
    return buffer[start + 4..<start + 4 + length]
  }
}

private struct FrameWriter {
  private var bytes: [UInt8] = []

  mutating func begin(_ kind: UInt8, reserving size: Int = 64) {
    bytes.reserveCapacity(size + 5)
    bytes.append(contentsOf: [0, 0, 0, 0, kind])
  }

  mutating func write(byte: UInt8) { bytes.append(byte) }

  mutating func write(_ number: Int64) {
    let bits = UInt64(bitPattern: number)
    for shift in stride(from: 56, through: 0, by: -8) { bytes.append(UInt8(truncatingIfNeeded: bits >> UInt64(shift))) }
  }

  mutating func write(_ run: [UInt8]) {
    write(Int64(run.count))
    bytes.append(contentsOf: run)
  }

  mutating func write(_ text: String) { write(Array(text.utf8)) }

  mutating func finish() -> [UInt8] {
    let length = UInt32(bytes.count - 4)
    for index in 0..<4 { bytes[index] = UInt8(truncatingIfNeeded: length >> UInt32(24 - 8 * index)) }
    return bytes
  }
}

private struct FrameReader {
  private var rest: ArraySlice<UInt8>

  init(_ body: ArraySlice<UInt8>) { rest = body }

  var isAtEnd: Bool { rest.isEmpty }

  mutating func byte() throws -> UInt8 {
    guard let byte = rest.popFirst() else { throw ShimFrameError(reason: "an empty frame") }
    return byte
  }

  mutating func number() throws -> Int64 {
    guard rest.count >= 8 else { throw ShimFrameError(reason: "a frame that ends too early") }
    let bits = rest.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    rest = rest.dropFirst(8)
    return Int64(bitPattern: bits)
  }

  mutating func bytes() throws -> [UInt8] {
    let count = try number()
    guard count >= 0, count <= rest.count else { throw ShimFrameError(reason: "a frame that ends too early") }
    defer { rest = rest.dropFirst(Int(count)) }
    return Array(rest.prefix(Int(count)))
  }

  mutating func string() throws -> String { String(decoding: try bytes(), as: UTF8.self) }
}
