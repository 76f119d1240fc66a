import Glibc
import Synchronization

/// A provider's key where it is needed: at each call. A file is read again when it is another than before (its time of
/// change, its size or its inode), so a key can be rotated without a restart.
final class ProviderKey: Sendable {
  private struct Stamp: Hashable {
    var inode: UInt64
    var size: Int64
    var seconds: Int
    var nanoseconds: Int
  }

  private let source: ModelProvider.Key?
  private let read = Mutex<(stamp: Stamp, key: String?)?>(nil)

  init(_ source: ModelProvider.Key?) { self.source = source }

  /// nil where there is none, or none can be read.
  var value: String? {
    switch source {
    case nil: nil
    case .value(let text): text.isEmpty ? nil : text
    case .file(let path): read.withLock { Self.value(path, &$0) }
    }
  }

  private static func value(_ path: String, _ read: inout (stamp: Stamp, key: String?)?) -> String? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
    let stamp = Stamp(
      inode: UInt64(status.st_ino), size: Int64(status.st_size), seconds: status.st_mtim.tv_sec,
      nanoseconds: status.st_mtim.tv_nsec)
    if let read, read.stamp == stamp { return read.key }
    var bytes = [UInt8](repeating: 0, count: 16 << 10)
    let count = Glibc.read(descriptor, &bytes, bytes.count)
    guard count >= 0 else { return nil }
    let value = key(in: bytes[..<count])
    read = (stamp, value)
    return value
  }

  /// The key that a file holds in its first line; nil where that is none.
  static func key(in bytes: ArraySlice<UInt8>) -> String? {
    // Visible ASCII; a header may hold nothing else.
    let line = bytes.prefix { $0 != 0x0A && $0 != 0x0D }
    let key = String(decoding: line.filter { (0x21...0x7E).contains($0) }, as: UTF8.self)
    return key.isEmpty || key.utf8.count != line.count ? nil : key
  }
}
