import Glibc

/// A process that need not be a child of this one; a later process of the same number is another.
struct ProcessIdentity: Sendable, Hashable {
  let pid: pid_t
  /// In clock ticks since the machine's start; nil: it was gone already.
  private let startedAt: UInt64?

  init(_ pid: pid_t) {
    self.pid = pid
    startedAt = Self.start(of: pid)
  }

  /// The shim of a directory by the file that it left there, if that process is one still.
  init?(shim directory: String) {
    guard let file = ControlFile.read("\(directory)/pid"), let pid = pid_t(file.prefix { $0 != "\n" }), pid > 1,
      let command = ControlFile.read("/proc/\(pid)/cmdline"), command.split(separator: "\0").contains(directory[...])
    else { return nil }
    self.init(pid)
  }

  var isAlive: Bool { startedAt != nil && Self.start(of: pid) == startedAt }

  func signal(_ number: Int32) { if isAlive { kill(pid, number) } }

  /// From `/proc/<pid>/stat` (proc(5)); nil where there is no such process, or one that only waits to be reaped.
  private static func start(of pid: pid_t) -> UInt64? {
    // The name in the second field may hold anything; the fields behind its last parenthesis are ours to count.
    guard let line = ControlFile.read("/proc/\(pid)/stat"), let name = line.lastIndex(of: ")") else { return nil }
    let fields = line[name...].split(separator: " ").dropFirst()
    guard let state = fields.first, state != "Z", state != "X" else { return nil }
    return fields.dropFirst(19).first.flatMap { UInt64($0) }
  }
}
