public import NIOCore

/// Frames of a stream that came together and leave together: one way to the socket for all of them, each still a chunk
/// of its own.
public struct FrameBatch {
  /// What is more than this, in bytes, is not written at once: what was written waits in memory for a slow client.
  private static let writeSize = 256 << 10

  private var frames: [ByteBuffer] = []
  private var size = 0

  public init() {}

  /// Adds frames, and writes what there is where it is enough.
  public mutating func add(_ more: [ByteBuffer], _ write: ([ByteBuffer]) async throws -> Void) async throws {
    frames += more
    size += more.reduce(0) { $0 + $1.readableBytes }
    if size > Self.writeSize { try await flush(write) }
  }

  /// Writes what there is.
  public mutating func flush(_ write: ([ByteBuffer]) async throws -> Void) async throws {
    guard !frames.isEmpty else { return }
    try await write(frames)
    (frames, size) = ([], 0)
  }
}
