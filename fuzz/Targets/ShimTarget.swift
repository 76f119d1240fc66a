import ShimProtocol

/// Bytes from the other end of a shim's socket, in pieces of the size that the first byte says.
enum ShimTarget {
  static func check(_ input: [UInt8]) throws {
    guard let first = input.first else { return }
    let size = max(1, Int(first))
    let stream = input.dropFirst()
    let frames = shimFrames(stream, size)
    try require(shimFrames(stream, stream.count + 1) == frames, "frames that depend on how they were cut")
    for frame in frames {
      try require(shimFrames(FrameCodec.encode(frame)[...], 3) == [frame], "a frame that is written as another")
    }
    for frame in serverFrames(stream, size) {
      try require(serverFrames(FrameCodec.encode(frame)[...], 3) == [frame], "a frame that is written as another")
    }
  }

  /// Those before the first that is none.
  private static func shimFrames(_ bytes: ArraySlice<UInt8>, _ size: Int) -> [ShimFrame] {
    var decoder = FrameDecoder()
    var frames: [ShimFrame] = []
    for piece in pieces(bytes, size) {
      decoder.append(piece)
      do {
        while let frame = try decoder.nextShimFrame() { frames.append(frame) }
      } catch {
        break
      }
    }
    return frames
  }

  private static func serverFrames(_ bytes: ArraySlice<UInt8>, _ size: Int) -> [ServerFrame] {
    var decoder = FrameDecoder()
    var frames: [ServerFrame] = []
    for piece in pieces(bytes, size) {
      decoder.append(piece)
      do {
        while let frame = try decoder.nextServerFrame() { frames.append(frame) }
      } catch {
        break
      }
    }
    return frames
  }

  private static func pieces(_ bytes: ArraySlice<UInt8>, _ size: Int) -> [ArraySlice<UInt8>] {
    stride(from: bytes.startIndex, to: bytes.endIndex, by: size).map { bytes[$0..<min($0 + size, bytes.endIndex)] }
  }
}
