import Glibc

/// The processes below this one, from `/proc`: commands may have left the harness's process group, but as this process
/// is their subreaper they cannot leave its tree.
enum Descendants {
  /// A process for good: a number is given again, but not with the same time of start.
  struct Process: Hashable {
    let pid: pid_t
    let start: UInt64
  }

  static var all: Set<Process> {
    var children: [pid_t: [Process]] = [:]
    guard let directory = opendir("/proc") else { return [] }
    defer { closedir(directory) }
    while let entry = readdir(directory) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
        pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      guard let pid = pid_t(name), let (parent, start) = look(pid) else { continue }
      children[parent, default: []].append(Process(pid: pid, start: start))
    }
    var found: Set<Process> = []
    var open = children[getpid()] ?? []
    while let process = open.popLast() {
      found.insert(process)
      open += children[process.pid] ?? []
    }
    return found
  }

  /// Ends all but some, until none is left: what is ended may have started others meanwhile.
  /// - Returns: false where some were faster
  static func end(butFor kept: Set<Process>) -> Bool {
    for _ in 0..<200 {
      let left = all.subtracting(kept)
      guard !left.isEmpty else { return true }
      kill(left)
      // The kernel takes a moment; so does whoever has to collect them.
      usleep(1000)
    }
    return false
  }

  /// All are stopped before the first one ends: a shell whose command has ended goes on with its next one.
  static func kill(_ processes: Set<Process>) {
    for signal in [SIGSTOP, SIGKILL] {
      for process in processes { Glibc.kill(process.pid, signal) }
    }
  }

  /// Whether a process carries connections to the gateway.
  static func isCarrier(_ process: Process) -> Bool {
    let descriptor = open("/proc/\(process.pid)/cmdline", O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    guard case .bytes(let bytes) = Descriptors.read(descriptor, upTo: 8192) else { return false }
    let arguments = bytes.split(separator: 0, maxSplits: 2, omittingEmptySubsequences: false)
    return arguments.count > 2 && arguments[1].elementsEqual("carry".utf8)
  }

  private static func look(_ pid: pid_t) -> (parent: pid_t, start: UInt64)? {
    let descriptor = open("/proc/\(pid)/stat", O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    guard case .bytes(let bytes) = Descriptors.read(descriptor, upTo: 1024) else { return nil }
    // The name in parentheses may hold anything; what follows the last one is `state ppid …`, with the number of
    // threads as the eighteenth and the time of start as the twentieth. One whose first thread has ended is a zombie by
    // its state, and lives on in the others.
    guard let end = bytes.lastIndex(of: UInt8(ascii: ")")) else { return nil }
    let fields = String(decoding: bytes[(end + 1)...], as: UTF8.self).split(separator: " ")
    guard fields.count > 19, fields[0] != "Z" || fields[17] != "1" && fields[17] != "0", let parent = pid_t(fields[1]),
      let start = UInt64(fields[19])
    else {
      return nil
    }
    return (parent, start)
  }
}
