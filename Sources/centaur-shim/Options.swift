/// What `run` is told.
struct RunOptions {
  /// The shim's own files.
  var directory = ""
  /// Where the harness starts; nil: where the shim was started.
  var cwd: String?
  /// How long the shim stays without a server, in seconds.
  var orphanAfter: Int64 = 6 * 3600
  var command: [String] = []

  init?(_ arguments: ArraySlice<String>) {
    var rest = arguments
    while let option = rest.popFirst(), option != "--" {
      guard let value = rest.popFirst() else { return nil }
      switch option {
      case "--dir": directory = value
      case "--cwd": cwd = value
      case "--orphan-after":
        guard let seconds = Int64(value), seconds > 0 else { return nil }
        orphanAfter = seconds
      default: return nil
      }
    }
    command = Array(rest)
    guard !directory.isEmpty, !command.isEmpty else { return nil }
  }
}

/// What `forward` is told.
struct ForwardOptions {
  var port: UInt16 = 0
  var socket = ""

  init?(_ arguments: ArraySlice<String>) {
    var rest = arguments
    while let option = rest.popFirst() {
      guard let value = rest.popFirst() else { return nil }
      switch option {
      case "--listen":
        let prefix = "127.0.0.1:"
        guard value.hasPrefix(prefix), let port = UInt16(value.dropFirst(prefix.count)) else { return nil }
        self.port = port
      case "--to": socket = value
      default: return nil
      }
    }
    guard port > 0, !socket.isEmpty else { return nil }
  }
}
