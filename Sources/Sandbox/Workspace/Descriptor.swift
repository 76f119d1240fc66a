import Dispatch
import Glibc

/// An open file, closed with the value.
final class Descriptor: Sendable {
  let number: Int32

  init(_ number: Int32) { self.number = number }

  deinit { close(number) }

  /// - Throws: `SystemFailure` where `number` says that a call failed
  static func opened(_ number: Int32) throws(SystemFailure) -> Descriptor {
    guard number >= 0 else { throw SystemFailure() }
    return Descriptor(number)
  }

  /// - Throws: `SystemFailure`
  static func directory(_ path: String) throws(SystemFailure) -> Descriptor {
    try opened(open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC))
  }

  /// - Throws: `SystemFailure`
  func status() throws(SystemFailure) -> stat {
    var status = stat()
    guard fstat(number, &status) == 0 else { throw SystemFailure() }
    return status
  }

  /// Of an entry of this directory; a link is not followed.
  /// - Throws: `SystemFailure`
  func status(of name: [CChar]) throws(SystemFailure) -> stat {
    var status = stat()
    guard fstatat(number, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else { throw SystemFailure() }
    return status
  }

  /// Calls `body` with the name of each entry but `.` and `..`, as the C library wants it.
  /// - Throws: `SystemFailure`, and what `body` throws
  func entries(_ body: ([CChar]) throws -> Void) throws {
    // A stream owns its descriptor, and this one is ours.
    let copy = openat(number, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard copy >= 0 else { throw SystemFailure() }
    guard let stream = fdopendir(copy) else {
      defer { close(copy) }
      throw SystemFailure()
    }
    defer { closedir(stream) }
    while let entry = readdir(stream) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
        pointer.withMemoryRebound(to: CChar.self, capacity: 256) {
          Array(UnsafeBufferPointer(start: $0, count: strlen($0) + 1))
        }
      }
      if name == [0x2E, 0] || name == [0x2E, 0x2E, 0] { continue }
      try body(name)
    }
  }
}

/// A call of the system failed.
struct SystemFailure: Error, Hashable, CustomStringConvertible {
  var number: Int32
  init(_ number: Int32 = errno) { self.number = number }
  var description: String { String(cString: strerror(number)) }
}

extension stat {
  enum Kind {
    case file
    case directory
    case link
    case other
  }

  var kind: Kind {
    switch st_mode & S_IFMT {
    case S_IFREG: .file
    case S_IFDIR: .directory
    case S_IFLNK: .link
    default: .other
    }
  }
}

/// Runs what waits for disks on a thread that may wait.
func blocking<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
  try await withCheckedThrowingContinuation { continuation in
    DispatchQueue.global().async { continuation.resume(with: Result { try body() }) }
  }
}
