import Glibc

/// A Unix socket's path may have no more than 107 bytes; a data directory may be deeper. The directory is opened, and
/// the socket named through the descriptor.
enum ShortSocketPath {
  static func with<T>(directory: String, _ body: (String) async throws -> T) async throws -> T {
    let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw Unreachable() }
    defer { close(descriptor) }
    return try await body("/proc/self/fd/\(descriptor)/socket")
  }

  struct Unreachable: Error {}
}
