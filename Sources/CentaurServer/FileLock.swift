import CShimSystem
import Glibc

/// A file that this process alone may hold; given back with the value.
struct FileLock: ~Copyable {
  private let descriptor: Int32

  /// - Throws: `FileLockError`
  init(path: String) throws(FileLockError) {
    descriptor = centaur_lock_file(path)
    guard descriptor < 0 else { return }
    let number = errno
    throw number == EWOULDBLOCK ? .isHeld : .cannotOpen(String(cString: strerror(number)))
  }

  deinit { close(descriptor) }
}

enum FileLockError: Error {
  /// By another process.
  case isHeld
  case cannotOpen(String)
}
