import Glibc
import SessionModel

/// What a harness has printed and its shim still keeps, read from the shim's own files: also when the shim is dead.
///
/// The files are the shim's (`Spool` in `centaur-shim`): segments in `spool`, each named by the offset of its first byte.
public struct SpooledOutput: Sendable, Hashable {
  private let directory: String

  /// - Parameter sandbox: the shim's directory.
  init(sandbox: String) { directory = "\(sandbox)/spool" }

  /// At most 256 KiB of output from `offset` on; empty where there is no more. It reads a file, on a thread that may
  /// wait. While the shim lives more may follow.
  /// - Throws: `CentaurError` with `storeUnavailable` where what is there cannot be read just now
  public func read(from offset: Int64) async throws -> [UInt8] {
    let directory = directory
    return try await blocking { try Self.read(directory, from: offset) }
  }

  private static func read(_ directory: String, from offset: Int64) throws(CentaurError) -> [UInt8] {
    guard let start = try segments(directory).last(where: { $0 <= offset }) else { return [] }
    let file = open("\(directory)/\(start)", O_RDONLY | O_CLOEXEC)
    guard file >= 0 else {
      try checkMissing()
      return []
    }
    defer { close(file) }
    var count = 0
    let bytes = [UInt8](unsafeUninitializedCapacity: 256 << 10) { buffer, initialized in
      count = pread(file, buffer.baseAddress, buffer.count, off_t(offset - start))
      initialized = max(0, count)
    }
    guard count >= 0 else { throw unreadable }
    return bytes
  }

  /// What is not there holds nothing; of what is there and cannot be read nobody knows what it holds.
  private static func checkMissing() throws(CentaurError) { if errno != ENOENT { throw unreadable } }

  private static var unreadable: CentaurError {
    CentaurError(
      .storeUnavailable, "What the agent has printed cannot be read: \(String(cString: strerror(errno))).",
      retryAfter: .seconds(2))
  }

  private static func segments(_ directory: String) throws(CentaurError) -> [Int64] {
    guard let listing = opendir(directory) else {
      try checkMissing()
      return []
    }
    defer { closedir(listing) }
    var starts: [Int64] = []
    while let entry = Glibc.readdir(listing) {
      let name = withUnsafePointer(to: entry.pointee.d_name) { name in
        name.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if let start = Int64(name) { starts.append(start) }
    }
    return starts.sorted()
  }
}
