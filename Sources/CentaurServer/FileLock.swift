import CShimSystem
import Glibc

/// A file that this process alone may hold; given back with the value.
struct FileLock: ~Copyable {
  private let descriptor: Int32

  /// Nil where another process holds it.
  init?(path: String) {
    descriptor = centaur_lock_file(path)
    if descriptor < 0 { return nil }
  }

  deinit { close(descriptor) }
}
