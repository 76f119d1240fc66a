import CShimSystem
import Glibc

/// A file that is held for as long as this value lives, or the process: the kernel gives it back, however that ends.
struct FileLock: ~Copyable {
  private let descriptor: Int32

  /// - Parameter isShared: with others who share it; else it is this one's alone.
  /// - Throws: `FileLockError`
  init(path: String, isShared: Bool = false) throws(FileLockError) {
    descriptor = centaur_lock_file(path, isShared ? 1 : 0)
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
