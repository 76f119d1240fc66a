import Glibc

/// How many files, sockets among them, this process may have open.
struct OpenFiles {
  /// What may be open.
  let limit: Int

  /// What the server needs beside its clients' connections: its store, its listener, its gateway, and of each sandbox the
  /// link, the gateway's socket and the files that its start opens for a moment.
  private static func reserve(sandboxes: Int) -> Int { 128 + 16 * sandboxes }

  /// Takes as many as this process is allowed: the usual 1,024 are for programs that use `select`.
  static func raised() -> OpenFiles {
    var files = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &files) == 0 else { return OpenFiles(limit: 1024) }
    // More than this nobody needs, and old programs of an agent's try to close each that they might have.
    let wanted = min(files.rlim_max, 1 << 20)
    if files.rlim_cur < wanted {
      files.rlim_cur = wanted
      guard setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &files) == 0 else { return OpenFiles(limit: 1024) }
    }
    return OpenFiles(limit: Int(min(files.rlim_cur, 1 << 30)))
  }

  /// How many connections there may be, so that sandboxes can still be started.
  func connections(_ limits: ServerConfiguration.Limits) -> Int {
    max(16, min(limits.connections, limit - Self.reserve(sandboxes: limits.sandboxes)))
  }

  /// What a person must know; nil where the configured number can be had.
  func notice(_ limits: ServerConfiguration.Limits) -> String? {
    let possible = connections(limits)
    guard possible < limits.connections else { return nil }
    return
      "open files: this process may have \(limit), enough for \(possible) connections, not for the \(limits.connections) of 'connections' (ulimit -Hn)"
  }
}
