import Glibc

/// All that the harness printed, in segment files named by the offset of their first byte. Written before anybody is
/// shown it.
///
/// What is in the files is a beginning of the output without a gap: after a write that failed nothing more is taken.
struct Spool {
  private struct Segment {
    var start: Int64
    var end: Int64
    var descriptor: Int32
  }

  private let directory: String
  private let limit: Int64
  private let segmentSize: Int64
  private var segments: [Segment] = []
  /// Output before this is stored elsewhere, whether its segment is gone or not.
  private var released: Int64 = 0
  /// The disk has refused a write.
  private(set) var isBroken = false

  /// The spool in `directory`, which is made.
  /// - Parameter limit: how many bytes may wait to be released
  init(directory: String, limit: Int64) {
    self.directory = directory
    self.limit = limit
    // Only whole segments go: they must be small against what may wait.
    segmentSize = min(16 << 20, limit / 4)
    mkdir(directory, 0o700)
  }

  /// How many bytes more may come before the harness must wait.
  var room: Int { Int(max(0, limit - (end - released))) }

  var start: Int64 { segments.first?.start ?? 0 }
  var end: Int64 { segments.last?.end ?? 0 }

  /// - Returns: false where the disk takes no more, from then on.
  mutating func append(_ bytes: [UInt8]) -> Bool {
    guard !isBroken else { return false }
    if segments.last.map({ $0.end - $0.start >= segmentSize }) ?? true, !open() {
      isBroken = true
      return false
    }
    let last = segments.count - 1
    guard Descriptors.writeAll(segments[last].descriptor, bytes) else {
      isBroken = true
      // Half a write is not told to anybody, now or by who reads the files later.
      _ = ftruncate(segments[last].descriptor, off_t(segments[last].end - segments[last].start))
      return false
    }
    segments[last].end += Int64(bytes.count)
    return true
  }

  private mutating func open() -> Bool {
    let offset = end
    let descriptor = Glibc.open("\(directory)/\(offset)", O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { return false }
    segments.append(Segment(start: offset, end: offset, descriptor: descriptor))
    return true
  }

  func read(at offset: Int64, upTo size: Int) -> [UInt8] {
    guard let segment = segments.last(where: { $0.start <= offset }), offset < segment.end else { return [] }
    let wanted = min(size, Int(segment.end - offset))
    return [UInt8](unsafeUninitializedCapacity: wanted) { buffer, initialized in
      initialized = max(0, pread(segment.descriptor, buffer.baseAddress, wanted, off_t(offset - segment.start)))
    }
  }

  /// Forgets segments that end at or before `offset`; the newest stays.
  mutating func release(before offset: Int64) {
    released = max(released, min(offset, end))
    while segments.count > 1, segments[0].end <= offset {
      close(segments[0].descriptor)
      unlink("\(directory)/\(segments[0].start)")
      segments.removeFirst()
    }
  }
}

/// The end of the harness's standard error: two files, the older of which is dropped when the newer is full.
struct ErrorLog {
  private static let halfSize = 128 << 10
  private let path: String
  private var descriptor: Int32
  private var size = 0
  /// -1 while there is none.
  private var older: Int32 = -1
  private var olderSize = 0

  init(path: String) {
    self.path = path
    descriptor = open(path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0o600)
  }

  mutating func append(_ bytes: [UInt8]) {
    if size >= Self.halfSize {
      if older >= 0 { close(older) }
      (older, olderSize) = (descriptor, size)
      rename(path, path + ".1")
      descriptor = open(path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0o600)
      size = 0
    }
    _ = Descriptors.writeAll(descriptor, bytes)
    size += bytes.count
  }

  /// The last bytes as text, from both files: the newer may have just begun.
  func tail(_ count: Int = 4096) -> String {
    let newest = Self.end(of: descriptor, size, count)
    let before = Self.end(of: older, olderSize, count - newest.count)
    return String(decoding: before + newest, as: UTF8.self)
  }

  private static func end(of descriptor: Int32, _ size: Int, _ count: Int) -> [UInt8] {
    let wanted = min(size, count)
    return [UInt8](unsafeUninitializedCapacity: wanted) { buffer, initialized in
      initialized = max(0, pread(descriptor, buffer.baseAddress, wanted, off_t(size - wanted)))
    }
  }
}
