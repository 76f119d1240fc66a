import Glibc

/// Small words for the system calls that the shim's loops are made of. Every descriptor is close-on-exec.
enum Descriptors {
  static func setNonBlocking(_ descriptor: Int32) {
    _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
    _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
  }

  /// A pipe: what is written to `write` comes out of `read`.
  static func pipe() -> (read: Int32, write: Int32)? {
    var ends: [Int32] = [-1, -1]
    guard Glibc.pipe(&ends) == 0 else { return nil }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    return (ends[0], ends[1])
  }

  enum Reading {
    case bytes([UInt8])
    case wouldBlock
    case end
  }

  static func read(_ descriptor: Int32, upTo size: Int) -> Reading {
    var count = 0
    let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, initialized in
      repeat { count = Glibc.read(descriptor, buffer.baseAddress, size) } while count < 0 && errno == EINTR
      initialized = max(count, 0)
    }
    if count > 0 { return .bytes(bytes) }
    if count < 0, errno == EAGAIN || errno == EWOULDBLOCK { return .wouldBlock }
    return .end
  }

  /// - Returns: how many bytes were taken, or nil where nobody reads any more.
  static func write(_ descriptor: Int32, _ bytes: ArraySlice<UInt8>) -> Int? {
    let count = bytes.withUnsafeBytes { buffer in
      var count = 0
      repeat { count = Glibc.write(descriptor, buffer.baseAddress, buffer.count) } while count < 0 && errno == EINTR
      return count
    }
    if count >= 0 { return count }
    return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : nil
  }

  /// Writes all, to a file.
  static func writeAll(_ descriptor: Int32, _ bytes: [UInt8]) -> Bool {
    var rest = bytes[...]
    while !rest.isEmpty {
      guard let count = write(descriptor, rest), count > 0 else { return false }
      rest = rest.dropFirst(count)
    }
    return true
  }

  /// A file that appears whole or not at all.
  static func writeFile(_ path: String, _ text: String) {
    let temporary = path + ".new"
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { return }
    let isWhole = writeAll(descriptor, Array(text.utf8))
    close(descriptor)
    guard isWhole else {
      unlink(temporary)
      return
    }
    rename(temporary, path)
  }

  static func unixAddress(_ path: String) -> sockaddr_un? {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { return nil }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    return address
  }

  static func withAddress<T>(_ address: sockaddr_un, _ body: (UnsafePointer<sockaddr>, socklen_t) -> T) -> T {
    withUnsafePointer(to: address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
    }
  }

  /// Milliseconds of a clock that only goes forward.
  static var now: Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
  }
}
