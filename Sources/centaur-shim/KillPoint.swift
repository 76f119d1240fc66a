#if DEBUG
  import Glibc

  /// Places at which a test ends the shim as `kill -9` would; debug builds only. As `KillPoint` of `SessionModel`, which
  /// the shim does not have: it is told by `--kill-at NAME#7,…` and `--kill-mark FILE`.
  struct KillPoints {
    /// Used by the shim's one thread.
    nonisolated(unsafe) static var shared = KillPoints()

    var kills: Set<String> = []
    var mark: String?
    private var counts: [String: Int] = [:]

    mutating func reach(_ name: String) {
      guard !kills.isEmpty else { return }
      counts[name, default: 0] += 1
      let point = "\(name)#\(counts[name, default: 0])"
      guard kills.contains(point) else { return }
      if let mark {
        let file = open(mark, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard file >= 0 else { return }
        _ = Descriptors.writeAll(file, Array("\(point) \(getpid())\n".utf8))
        close(file)
      }
      kill(getpid(), SIGKILL)
    }
  }
#endif

/// Ends the shim here, if a test told it to.
func reachKillPoint(_ name: String) {
  #if DEBUG
    KillPoints.shared.reach(name)
  #endif
}
