/// What `run` is told.
struct RunOptions {
  /// The shim's own files.
  var directory = ""
  /// Where the harness starts; nil: where the shim was started.
  var cwd: String?
  /// How long the shim stays without a server, in seconds.
  var orphanAfter: Int64 = 6 * 3600
  /// How many bytes of output may wait to be released before the harness must wait.
  var spoolLimit: Int64 = 256 << 20
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
      case "--spool-limit":
        guard let bytes = Int64(value), bytes >= 4 << 10 else { return nil }
        spoolLimit = bytes
      #if DEBUG
        case "--kill-at": KillPoints.shared.kills = Set(value.split(separator: ",").map(String.init))
        case "--kill-mark": KillPoints.shared.mark = value
      #endif
      default: return nil
      }
    }
    command = Array(rest)
    guard !directory.isEmpty, !command.isEmpty else { return nil }
  }
}

/// What `forward` is told.
struct ForwardOptions {
  /// A word of the command that stands for a port, and the socket to which that port leads.
  var targets: [(placeholder: String, socket: String)] = []
  var command: [String] = []

  init?(_ arguments: ArraySlice<String>) {
    var rest = arguments
    while let option = rest.popFirst(), option != "--" {
      guard option == "--to", let value = rest.popFirst(), let equals = value.firstIndex(of: "="), value.first != "="
      else { return nil }
      targets.append((String(value[..<equals]), String(value[value.index(after: equals)...])))
    }
    command = Array(rest)
    guard !targets.isEmpty, !command.isEmpty else { return nil }
  }
}

/// What `confine` is told.
struct ConfineOptions {
  enum Signals: String {
    case ignored
    case standard
  }

  /// Directories of control groups.
  var groups: [String] = []
  var limits: [(name: String, value: UInt)] = []
  var signals: Signals?
  var command: [String] = []

  init?(_ arguments: ArraySlice<String>) {
    var rest = arguments
    while let option = rest.popFirst(), option != "--" {
      guard let value = rest.popFirst() else { return nil }
      switch option {
      case "--group": groups.append(value)
      case "--limit":
        let parts = value.split(separator: "=")
        guard parts.count == 2, let number = UInt(parts[1]) else { return nil }
        limits.append((String(parts[0]), number))
      case "--signals":
        guard let signals = Signals(rawValue: value) else { return nil }
        self.signals = signals
      default: return nil
      }
    }
    command = Array(rest)
    guard !command.isEmpty else { return nil }
  }
}
