import Glibc

/// The gateway's log, which is what it writes to its standard output and error: kept within a size while it lives, for
/// an agent's calls that fail write a line each. A full one becomes the old one, in the place of the one before.
struct GatewayLog {
  let path: String
  var limit: off_t = 4 << 20

  var oldPath: String { "\(path).1" }

  /// Begins a new file if the one that `descriptors` write to is this log and too large.
  func keepSmall(_ descriptors: [Int32] = [STDOUT_FILENO, STDERR_FILENO]) {
    var named = stat()
    guard stat(path, &named) == 0, named.st_size > limit else { return }
    // Of a gateway that was started by hand it may be a terminal, or another gateway's.
    let writers = descriptors.filter { descriptor in
      var open = stat()
      return fstat(descriptor, &open) == 0 && open.st_ino == named.st_ino && open.st_dev == named.st_dev
    }
    guard !writers.isEmpty, rename(path, oldPath) == 0 else { return }
    let new = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
    guard new >= 0 else { return }
    for writer in writers { dup2(new, writer) }
    close(new)
  }

  /// Looks after it until the task is cancelled.
  func watch() async throws {
    while true {
      try await Task.sleep(for: .seconds(5))
      keepSmall()
    }
  }
}
