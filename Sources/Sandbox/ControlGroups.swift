import Glibc

/// Where this server may make control groups, and how: version 2 (`cgroup2`), or version 1 with a tree a controller.
///
/// Follows the kernel's Documentation/admin-guide/cgroup-v1 and cgroup-v2. A group is a directory; what is written to
/// its files are limits, what is read from them is what happened.
public struct ControlGroups: Sendable, Hashable {
  enum Version: Int, Sendable, Hashable {
    case one = 1
    case two = 2
  }

  let version: Version
  /// The directories in which groups are made; the same one twice in version 2.
  let memory: String
  let processes: String

  /// For people: `control groups, version 1`.
  public var description: String { "control groups, version \(version.rawValue)" }

  // MARK: Finding

  /// The place for groups below this process's own, where it may make them.
  /// - Returns: nil where it may not: no such file system, read-only, not ours.
  public static func find() -> ControlGroups? {
    guard let mounts = ControlFile.read("/proc/self/mounts"), let own = ControlFile.read("/proc/self/cgroup") else {
      return nil
    }
    return candidates(mounts: mounts, own: own).first { $0.prepare() }
  }

  /// What `mounts` and `own` (as `/proc/self/mounts` and `/proc/self/cgroup` read) tell of possible places.
  static func candidates(mounts: String, own: String) -> [ControlGroups] {
    var unified: String?
    var trees: [Substring: Substring] = [:]
    for line in mounts.split(separator: "\n") {
      let fields = line.split(separator: " ")
      guard fields.count > 3 else { continue }
      switch fields[2] {
      case "cgroup2": unified = unified ?? String(fields[1])
      case "cgroup":
        for option in fields[3].split(separator: ",") { trees[option] = fields[1] }
      default: continue
      }
    }
    var paths: [Substring: Substring] = [:]
    for line in own.split(separator: "\n") {
      let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard fields.count == 3 else { continue }
      for controller in fields[1].split(separator: ",", omittingEmptySubsequences: false) {
        paths[controller] = fields[2] == "/" ? "" : fields[2]
      }
    }
    var found: [ControlGroups] = []
    if let unified, let path = paths[""] {
      found.append(ControlGroups(version: .two, memory: unified + path, processes: unified + path))
    }
    if let memory = trees["memory"], let processes = trees["pids"], let ofMemory = paths["memory"],
      let ofProcesses = paths["pids"]
    {
      found.append(
        ControlGroups(version: .one, memory: "\(memory)\(ofMemory)", processes: "\(processes)\(ofProcesses)"))
    }
    return found
  }

  /// Makes the place ready; version 2 wants a group to hold either processes or groups.
  private func prepare() -> Bool {
    if version == .two {
      guard let controllers = ControlFile.read("\(memory)/cgroup.controllers")?.split(whereSeparator: \.isWhitespace),
        controllers.contains("memory"), controllers.contains("pids")
      else { return false }
      let server = "\(memory)/centaur-server"
      mkdir(server, 0o755)
      guard ControlFile.write("\(server)/cgroup.procs", "0") else { return false }
      guard ControlFile.write("\(memory)/cgroup.subtree_control", "+memory +pids") else {
        // Others are in that group too; this process goes back to them.
        _ = ControlFile.write("\(memory)/cgroup.procs", "0")
        rmdir(server)
        return false
      }
    }
    let probe = "centaur-probe-\(getpid())"
    let groups = [memory, processes].map { "\($0)/\(probe)" }
    defer { for group in groups { rmdir(group) } }
    return groups.allSatisfy { mkdir($0, 0o755) == 0 || errno == EEXIST }
  }

  // MARK: One sandbox's

  /// Makes the groups of one sandbox.
  /// - Parameter directory: the sandbox's own
  /// - Returns: nil where they cannot be made
  func make(_ directory: String, _ limits: SandboxLimits) -> SandboxGroups? {
    let groups = groups(of: directory)
    for directory in groups.directories {
      guard mkdir(directory, 0o755) == 0 || errno == EEXIST else { return nil }
    }
    let bytes = String(limits.memory)
    let isLimited: Bool
    switch version {
    case .one:
      isLimited = ControlFile.write("\(groups.memory)/memory.limit_in_bytes", bytes)
      // Memory and swap together; there only where swap is counted.
      _ = ControlFile.write("\(groups.memory)/memory.memsw.limit_in_bytes", bytes)
    case .two:
      isLimited = ControlFile.write("\(groups.memory)/memory.max", bytes)
      _ = ControlFile.write("\(groups.memory)/memory.swap.max", "0")
    }
    guard isLimited, ControlFile.write("\(groups.processes)/pids.max", String(limits.processes)) else {
      groups.directories.forEach { rmdir($0) }
      return nil
    }
    return groups
  }

  /// The groups that a sandbox has, if it has any.
  /// - Parameter directory: the sandbox's own. A copy of it (a backup that is tried out beside the server that it is of)
  ///   has others, though it bears the same id: what is in them is ended with the sandbox.
  func groups(of directory: String) -> SandboxGroups {
    var status = stat()
    let identity = stat(directory, &status) == 0 ? String(status.st_ino, radix: 16) : "0"
    let name = "\(Self.prefix)\(directory.split(separator: "/").last ?? "")-\(identity)"
    return SandboxGroups(version: version, memory: "\(memory)/\(name)", processes: "\(processes)/\(name)")
  }

  private static let prefix = "centaur-sandbox-"
}

/// The control groups of one sandbox.
struct SandboxGroups: Sendable, Hashable {
  let version: ControlGroups.Version
  let memory: String
  let processes: String

  /// Each one once.
  var directories: [String] { memory == processes ? [memory] : [memory, processes] }

  /// One that was started under a server without groups has none.
  var exist: Bool { directories.allSatisfy { access($0, F_OK) == 0 } }

  /// Which limit something in the sandbox ran into, since it was made.
  var exceededLimit: SandboxLimit? {
    let kills = version == .one ? "\(memory)/memory.oom_control" : "\(memory)/memory.events"
    if ControlFile.counter("oom_kill", in: kills) > 0 { return .memory }
    if ControlFile.counter("max", in: "\(processes)/pids.events") > 0 { return .processes }
    return nil
  }

  /// Ends what is left in them, and removes them.
  func remove() async {
    for _ in 0..<500 {
      for directory in directories {
        let members = (ControlFile.read("\(directory)/cgroup.procs") ?? "").split(separator: "\n")
        // 0 is one that this process cannot see, and would be all of its own group.
        for pid in members.compactMap({ pid_t($0) }) where pid > 0 { kill(pid, SIGKILL) }
      }
      if directories.allSatisfy({ rmdir($0) == 0 || errno == ENOENT }) { return }
      // A process that was killed takes a moment until its group is empty.
      try? await Task.sleep(for: .milliseconds(4))
    }
  }
}

/// The small files that the kernel makes.
enum ControlFile {
  static func read(_ path: String) -> String? {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 16 << 10)
    while true {
      let count = Glibc.read(file, &buffer, buffer.count)
      guard count >= 0 else { return nil }
      if count == 0 { return String(decoding: bytes, as: UTF8.self) }
      bytes += buffer[..<count]
    }
  }

  static func write(_ path: String, _ text: String) -> Bool {
    let file = open(path, O_WRONLY | O_CLOEXEC)
    guard file >= 0 else { return false }
    defer { close(file) }
    let bytes = Array(text.utf8)
    return Glibc.write(file, bytes, bytes.count) == bytes.count
  }

  /// The number behind a name, in a file of `name number` lines.
  static func counter(_ name: String, in path: String) -> Int {
    for line in (read(path) ?? "").split(separator: "\n") {
      let fields = line.split(separator: " ")
      if fields.count == 2, fields[0] == name { return Int(fields[1]) ?? 0 }
    }
    return 0
  }
}
