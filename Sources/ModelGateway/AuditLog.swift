import Glibc
import SessionModel
import Synchronization

/// One JSON line for each model call and each connection: who, where to, how it went; never content.
///
/// The file is kept below a size: a full one becomes the old one, in the place of the one before. Two gateways may
/// write at once while one takes over: lines are appended whole.
final class AuditLog: Sendable {
  private let path: String
  private let oldPath: String
  private let limit: Int
  private let lock = Mutex(())

  init(path: String, oldPath: String, limit: Int = 64 << 20) {
    self.path = path
    self.oldPath = oldPath
    self.limit = limit
  }

  func write(_ line: JSONValue) {
    let bytes = line.serialized + [0x0A]
    lock.withLock { _ in
      var descriptor = openFile()
      guard descriptor >= 0 else { return }
      var status = stat()
      if fstat(descriptor, &status) == 0, status.st_size > 0, Int(status.st_size) + bytes.count > limit {
        close(descriptor)
        rename(path, oldPath)
        descriptor = openFile()
        guard descriptor >= 0 else { return }
      }
      _ = Glibc.write(descriptor, bytes, bytes.count)
      close(descriptor)
    }
  }

  private func openFile() -> Int32 { open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o600) }
}
