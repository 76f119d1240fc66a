import FoundationEssentials
import Glibc
import SessionModel
import ShimProtocol

/// Whether bubblewrap can work on this machine, found out by a sandbox that is started for it: by what is seen from
/// inside, not by what settings promise.
public struct BubblewrapCheck: Sendable {
  /// What was looked at, and what came of it.
  public struct Finding: Sendable, Hashable {
    public var name: String
    public var isGood: Bool
    /// For people; where it is not good, with what to do.
    public var text: String
  }

  /// In the order in which they were looked at; the first that is not good is the last.
  public private(set) var findings: [Finding] = []
  /// There where all is good.
  public private(set) var sandbox: BubblewrapSandbox?

  /// - Parameters:
  ///   - shim: `centaur-shim`'s absolute path.
  ///   - directory: where the trial's files are made, and removed.
  ///   - readable: paths that every sandbox may read.
  ///   - path: where `bwrap` is looked for, as in `PATH`.
  public static func run(shim: String, directory: String, readable: [String], path: String) async -> BubblewrapCheck {
    var check = BubblewrapCheck()
    let programs = path.split(separator: ":").map { directory in "\(directory)/bwrap" }
    guard let program = programs.first(where: { access($0, X_OK) == 0 }) else {
      check.add("bubblewrap", false, "there is no `bwrap` on PATH; install the package bubblewrap")
      return check
    }
    if let missing = readable.first(where: { access($0, F_OK) != 0 }) {
      check.add("paths", false, "`sandbox_paths` names \(missing), which is not there")
      return check
    }
    let groups = ControlGroups.find()
    var reason = ""
    for forbidsNamespaces in [true, false] {
      let sandbox = BubblewrapSandbox(
        shim: shim, bubblewrap: program, readable: readable, forbidsNamespaces: forbidsNamespaces, groups: groups)
      switch await Trial(sandbox: sandbox, directory: directory).run() {
      case .success:
        check.add("bubblewrap", true, program)
        check.add(
          "namespaces", true,
          forbidsNamespaces
            ? "user, mount, pid, network, ipc, uts; none can be made inside"
            : "user, mount, pid, network, ipc, uts; this bubblewrap cannot forbid further ones inside (0.8 can)")
        check.add(
          "limits", true,
          Self.limits(groups))
        check.sandbox = sandbox
        return check
      case .failure(let failure):
        // An older one says that it does not know the option.
        guard failure.text.contains("disable-userns") else {
          check.add("bubblewrap", true, program)
          check.add("namespaces", false, failure.text + Self.advice(failure.text))
          return check
        }
        reason = failure.text
      }
    }
    check.add("namespaces", false, reason)
    return check
  }

  private mutating func add(_ name: String, _ isGood: Bool, _ text: String) {
    findings.append(Finding(name: name, isGood: isGood, text: text))
  }

  private static func limits(_ groups: ControlGroups?) -> String {
    if let groups { return "memory and processes by \(groups.description)" }
    // The kernel does not count the processes of root.
    return geteuid() == 0
      ? "memory by rlimits, each process for itself; processes NOT AT ALL, as this user is root and no control group "
        + "can be made here"
      : "memory by rlimits, each process for itself, and processes by rlimits: no control group can be made here"
  }

  private static func advice(_ text: String) -> String {
    let isForbidden = ["namespace", "uid map", "Operation not permitted"].contains { text.contains($0) }
    return isForbidden
      ? " — this machine may forbid user namespaces: see the sysctls kernel.unprivileged_userns_clone, "
        + "user.max_user_namespaces and kernel.apparmor_restrict_unprivileged_userns, or the container's seccomp profile"
      : ""
  }
}

/// A sandbox whose harness looks around and tells.
private struct Trial {
  let sandbox: BubblewrapSandbox
  let directory: String
  private let id = "trial-\(UInt32.random(in: 0 ... .max))"

  init(sandbox: BubblewrapSandbox, directory: String) {
    self.sandbox = sandbox
    self.directory = directory
  }

  struct Failure: Error {
    let text: String
  }

  func run() async -> Result<Void, Failure> {
    let root = "\(directory)/sandbox-\(id)"
    let files = FileManager.default
    defer { try? files.removeItem(atPath: root) }
    do {
      for name in ["workspace", "home", "tmp"] {
        try files.createDirectory(
          atPath: "\(root)/\(name)", withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
      }
      guard files.createFile(atPath: "\(root)/outside", contents: Data("x".utf8)) else {
        return .failure(Failure(text: "no file can be made in \(root)"))
      }
      let spec = SandboxSpec(
        id: id, directory: "\(root)/shim", workspace: "\(root)/workspace", home: "\(root)/home",
        temporary: "\(root)/tmp", command: ["/bin/sh", "-c", Self.script, "sh", "\(root)/outside"], environment: [:],
        files: [:], orphanAfter: .seconds(60))
      let handle = try await sandbox.start(spec)
      let answer = TrialAnswer()
      let link = await Result {
        try await handle.withLink(fence: 1, offset: 0) { _, events in
          var events = events
          while let event = try await events.next() {
            if await answer.take(event) { return }
          }
        }
      }
      _ = await handle.stop(fence: 1)
      try link.get()
      return await answer.verdict
    } catch {
      return .failure(Failure(text: "\(error)"))
    }
  }

  /// Each line says one thing that must not be so.
  private static let script = """
    [ "$(id -u)" = 1000 ] || echo "it runs as user $(id -u)"
    grep -q '^CapEff:[[:space:]]*0*$' /proc/self/status || echo "it has capabilities"
    [ "$(tail -n +3 /proc/net/dev | grep -vc '^ *lo:')" = 0 ] || echo "it sees network interfaces"
    [ ! -e "$1" ] || echo "it sees the data directory"
    for file in /proc/sys/kernel/core_pattern $(find /proc -maxdepth 2 -type f -not -path '/proc/[0-9]*' 2>/dev/null)
    do [ -w "$file" ] && [ ! -c "$file" ] && echo "it can change the kernel's settings ($file)"; done
    ! touch /usr/centaur-trial /centaur-trial /etc/centaur-trial 2>/dev/null || echo "it can write to the system"
    touch "$HOME/a" "$TMPDIR/a" ./a || echo "it cannot write where it should"
    echo looked
    """
}

private actor TrialAnswer {
  private var output: [UInt8] = []
  private var errors = ""

  /// - Returns: whether that was all.
  func take(_ event: ShimEvent) -> Bool {
    switch event {
    case .output(_, let bytes): output += bytes
    case .accepted, .swept: break
    case .exited(let exit):
      errors = exit.stderrTail
      return true
    }
    return false
  }

  var verdict: Result<Void, Trial.Failure> {
    var lines = String(decoding: output, as: UTF8.self).split(separator: "\n").map(String.init)
    guard lines.popLast() == "looked" else {
      let reason = errors.split(separator: "\n").last.map(String.init)
      return .failure(Trial.Failure(text: reason ?? "bubblewrap ended without a word"))
    }
    return lines.isEmpty
      ? .success(()) : .failure(Trial.Failure(text: "in the sandbox " + lines.joined(separator: ", ")))
  }
}

extension Result where Failure == any Error {
  fileprivate init(_ body: () async throws -> Success) async {
    do { self = .success(try await body()) } catch { self = .failure(error) }
  }
}
