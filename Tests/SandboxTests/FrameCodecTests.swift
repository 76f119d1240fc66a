import ShimProtocol
import Testing

/// The server and the shim are two programs, at times of two versions: bytes that are misread would become a turn.
struct FrameCodecTests {
  static let serverFrames: [ServerFrame] = [
    .attach(fence: 1, offset: 0), .attach(fence: .max, offset: .max), .attach(fence: -1, offset: .min),
    .input(id: "e/start", bytes: Array("{}\n".utf8), closesInput: false),
    .input(id: "", bytes: [], closesInput: true),
    .input(id: "é😀", bytes: Array(0...255) + Array(repeating: 7, count: 1000), closesInput: false),
    .signal(2), .signal(-1), .release(offset: 1 << 40), .keep, .sweep, .stop,
  ]

  static let shimFrames: [ShimFrame] = [
    .hello(ShimHello(shimPID: 1, harnessPID: 0, spoolStart: 0, spoolEnd: 0, takenInputIDs: [])),
    .hello(
      ShimHello(
        version: 7, shimPID: .max, harnessPID: 3, spoolStart: 1 << 24, spoolEnd: 1 << 40,
        takenInputIDs: ["a", "", "e/tool/é"])),
    .output(offset: 5, bytes: []), .output(offset: .max, bytes: [0, 10, 255]), .accepted(id: "e/start"),
    .accepted(id: ""), .exited(ShimExit(status: 0, signal: nil, stderrTail: "")),
    .exited(ShimExit(status: nil, signal: 9, stderrTail: "killed\n")),
    .exited(ShimExit(status: 255, signal: nil, stderrTail: "é")), .refused(reason: "a newer server is attached"),
  ]

  private static func bytes(_ length: Int, _ body: [UInt8]) -> [UInt8] {
    (0..<4).map { UInt8(truncatingIfNeeded: length >> (24 - 8 * $0)) } + body
  }

  private static func number(_ value: Int64) -> [UInt8] {
    (0..<8).map { UInt8(truncatingIfNeeded: UInt64(bitPattern: value) >> (56 - 8 * UInt64($0))) }
  }

  /// What each end makes of the bytes: a reason to refuse them, or nil.
  private static func refusals(_ bytes: [UInt8]) -> [String?] {
    func reason(_ read: (inout FrameDecoder) throws -> Void) -> String? {
      var decoder = FrameDecoder()
      decoder.append(bytes)
      do {
        try read(&decoder)
        return nil
      } catch { return (error as? ShimFrameError)?.reason }
    }
    return [reason { _ = try $0.nextServerFrame() }, reason { _ = try $0.nextShimFrame() }]
  }

  @Test("every frame is read as it was written, wherever the stream is cut")
  func cutOnce() throws {
    let server = Self.serverFrames.flatMap { FrameCodec.encode($0) }
    for cut in 0...server.count {
      var decoder = FrameDecoder()
      var read: [ServerFrame] = []
      for piece in [server[..<cut], server[cut...]] {
        decoder.append(piece)
        while let frame = try decoder.nextServerFrame() { read.append(frame) }
      }
      #expect(read == Self.serverFrames)
    }
    let shim = Self.shimFrames.flatMap { FrameCodec.encode($0) }
    for cut in 0...shim.count {
      var decoder = FrameDecoder()
      var read: [ShimFrame] = []
      for piece in [shim[..<cut], shim[cut...]] {
        decoder.append(piece)
        while let frame = try decoder.nextShimFrame() { read.append(frame) }
      }
      #expect(read == Self.shimFrames)
    }
  }

  @Test("every frame is read as it was written, byte by byte, and none before its last byte")
  func everyByte() throws {
    for frame in Self.serverFrames {
      var decoder = FrameDecoder()
      let bytes = FrameCodec.encode(frame)
      for byte in bytes.dropLast() {
        decoder.append([byte])
        #expect(try decoder.nextServerFrame() == nil)
      }
      decoder.append(bytes.suffix(1))
      #expect(try decoder.nextServerFrame() == frame)
      #expect(try decoder.nextServerFrame() == nil)
    }
    for frame in Self.shimFrames {
      var decoder = FrameDecoder()
      let bytes = FrameCodec.encode(frame)
      for byte in bytes.dropLast() {
        decoder.append([byte])
        #expect(try decoder.nextShimFrame() == nil)
      }
      decoder.append(bytes.suffix(1))
      #expect(try decoder.nextShimFrame() == frame)
      #expect(try decoder.nextShimFrame() == nil)
    }
  }

  @Test("a long stream of frames is read to its end")
  func long() throws {
    var decoder = FrameDecoder()
    let frame = ShimFrame.output(offset: 3, bytes: Array(repeating: 1, count: 60_000))
    let bytes = FrameCodec.encode(frame)
    for _ in 0..<50 {
      decoder.append(bytes)
      decoder.append(bytes[..<100])
      #expect(try decoder.nextShimFrame() == frame)
      #expect(try decoder.nextShimFrame() == nil)
      decoder.append(bytes[100...])
      #expect(try decoder.nextShimFrame() == frame)
    }
  }

  @Test("a frame that is too long is refused by its first four bytes, before any memory is given to it")
  func tooLong() {
    let limit = FrameCodec.maximumLength
    #expect(Self.refusals(Self.bytes(limit, [])) == [nil, nil])
    #expect(Self.refusals(Self.bytes(limit + 1, [])) == Array(repeating: "a frame of \(limit + 1) bytes", count: 2))
    #expect(Self.refusals([255, 255, 255, 255]) == Array(repeating: "a frame of 4294967295 bytes", count: 2))
    #expect(Self.refusals([0, 0, 0, 0]) == Array(repeating: "a frame of 0 bytes", count: 2))
  }

  @Test("frames of kinds that are unknown, or that only the other end may send, are refused")
  func unknownKinds() {
    for kind in UInt8.min...UInt8.max where !(1...7).contains(kind) && !(65...70).contains(kind) {
      #expect(Self.refusals(Self.bytes(1, [kind])) == Array(repeating: "an unknown kind of frame", count: 2))
    }
    #expect(Self.refusals(FrameCodec.encode(.stop)) == [nil, "an unknown kind of frame"])
    #expect(Self.refusals(FrameCodec.encode(.accepted(id: "x"))) == ["an unknown kind of frame", nil])
  }

  @Test("an end that lost output says so, and an older shim's end is understood")
  func lostOutput() throws {
    let end = ShimExit(status: nil, signal: 15, stderrTail: "", lostOutput: true)
    var decoder = FrameDecoder()
    var bytes = FrameCodec.encode(.exited(end))
    decoder.append(bytes)
    #expect(try decoder.nextShimFrame() == .exited(end))
    bytes.removeLast()
    bytes[3] -= 1
    decoder.append(bytes)
    #expect(try decoder.nextShimFrame() == .exited(ShimExit(status: nil, signal: 15, stderrTail: "")))
  }

  @Test("a frame whose fields do not fit into it is refused")
  func truncated() {
    for frame in Self.serverFrames {
      let body = FrameCodec.encode(frame).dropFirst(4)
      for count in 1..<body.count {
        #expect(Self.refusals(Self.bytes(count, Array(body.prefix(count))))[0] == "a frame that ends too early")
      }
    }
    for frame in Self.shimFrames {
      let body = FrameCodec.encode(frame).dropFirst(4)
      for count in 1..<body.count {
        #expect(Self.refusals(Self.bytes(count, Array(body.prefix(count))))[1] == "a frame that ends too early")
      }
    }
  }

  @Test("lengths and counts inside of a frame are not believed", arguments: [-1, .min, .max, 9, 1 << 32] as [Int64])
  func absurdCounts(_ count: Int64) {
    let output = [66] + Self.number(0) + Self.number(count) + [1, 2, 3]
    #expect(Self.refusals(Self.bytes(output.count, output))[1] == "a frame that ends too early")
    let input = [2] + Self.number(count) + [1, 2, 3]
    #expect(Self.refusals(Self.bytes(input.count, input))[0] == "a frame that ends too early")
    guard count > 0 else { return }
    let hello = [65] + (0..<5).flatMap { Self.number($0) } + Self.number(count)
    #expect(Self.refusals(Self.bytes(hello.count, hello))[1] == "a frame that ends too early")
  }

  @Test("whatever bytes come, they are refused or read", arguments: 0..<4 as Range<UInt64>)
  func noise(_ seed: UInt64) {
    var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
    func random(_ bound: UInt64) -> UInt64 {
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      return state % bound
    }
    let kinds: [UInt8] = [1, 2, 3, 4, 5, 65, 66, 67, 68, 69]
    for _ in 0..<3000 {
      let body = [kinds[Int(random(10))]] + (0..<random(80)).map { _ in random(4) == 0 ? UInt8(random(256)) : 0 }
      var server = FrameDecoder()
      var shim = FrameDecoder()
      server.append(Self.bytes(body.count, body))
      shim.append(Self.bytes(body.count, body))
      let read = (try? server.nextServerFrame(), try? shim.nextShimFrame())
      if let frame = read.0 { #expect(FrameCodec.encode(frame).count <= body.count + 4) }
      if case .hello? = read.1 { continue }
    }
  }
}
