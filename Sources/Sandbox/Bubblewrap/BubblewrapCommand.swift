import FoundationEssentials
import Glibc

/// The command line that shuts a harness in: what it sees of the machine, and what is its own.
///
/// Everything that is not listed here is not there: not `/root`, not `/home`, not another session, no network but a
/// loopback interface of its own. The order matters: what is mounted later covers what was mounted before.
struct BubblewrapCommand {
  let bubblewrap: String
  let shim: String
  let spec: SandboxSpec
  /// Further paths that every sandbox may read.
  var readable: [String] = []
  /// Whether this bubblewrap can forbid further user namespaces (0.8 on).
  var forbidsNamespaces = true
  /// The limits that no control group holds.
  var limits: [(name: String, value: Int)] = []

  /// Inside, short: a socket's path may have no more than 107 bytes.
  static let shimInside = "/run/centaur/shim"
  static let socketsInside = "/run/centaur/gateway"
  static let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

  var arguments: [String] {
    [bubblewrap] + namespaces + system + temporary + programs + own + [
      "--remount-ro", "/", "--chdir", spec.workspace, "--",
    ]
      + [Self.shimInside, "confine", "--signals", "standard"]
      + limits.flatMap { ["--limit", "\($0.name)=\($0.value)"] }
      + ["--"] + inner
  }

  private var namespaces: [String] {
    [
      "--unshare-user", "--uid", "1000", "--gid", "1000", "--unshare-pid", "--unshare-net", "--unshare-ipc",
      "--unshare-uts", "--unshare-cgroup-try", "--hostname", "sandbox", "--cap-drop", "ALL", "--die-with-parent",
    ] + (forbidsNamespaces ? ["--disable-userns"] : [])
  }

  // MARK: The system

  /// Of `/etc`, what programs need to run, and nothing that could hold a secret.
  private static let configuration = [
    "alternatives", "bash.bashrc", "ca-certificates", "ca-certificates.conf", "debian_version", "fonts", "inputrc",
    "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "magic", "mime.types", "nsswitch.conf", "os-release",
    "perl", "pki/tls/certs", "profile", "protocols", "services", "ssl/certs", "ssl/openssl.cnf", "terminfo", "timezone",
  ]

  // Where the server is root so is, to the kernel, whoever it shuts in: nothing protects these but their being covered.

  /// Below `/proc`, what changes the machine when it is written.
  private static let kernelSettings = [
    "acpi", "asound", "bus", "driver", "dynamic_debug", "fs", "irq", "mtrr", "pressure", "scsi", "sys", "sysrq-trigger",
    "tty",
  ]

  /// Below `/proc`, what tells of the kernel's memory and of other processes.
  private static let kernelSecrets = [
    "kallsyms", "kcore", "keys", "kmsg", "kpagecgroup", "kpagecount", "kpageflags", "latency_stats", "modules",
    "sched_debug", "slabinfo", "timer_list", "vmallocinfo",
  ]

  private var system: [String] {
    var mounts = ["--ro-bind", "/usr", "/usr"]
    for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
      if let target = try? FileManager.default.destinationOfSymbolicLink(atPath: "/\(name)") {
        mounts += ["--symlink", target, "/\(name)"]
      } else {
        mounts += ["--ro-bind-try", "/\(name)", "/\(name)"]
      }
    }
    for name in Self.configuration { mounts += ["--ro-bind-try", "/etc/\(name)", "/etc/\(name)"] }
    for name in ["passwd", "group", "hosts"] {
      mounts += ["--ro-bind", "\(spec.directory)/etc/\(name)", "/etc/\(name)"]
    }
    // A device file system of its own, read-only but for what shared memory needs.
    mounts += ["--dev", "/dev", "--size", String(64 << 20), "--tmpfs", "/dev/shm", "--remount-ro", "/dev"]
    mounts += ["--proc", "/proc"]
    for name in Self.kernelSettings { mounts += ["--ro-bind-try", "/proc/\(name)", "/proc/\(name)"] }
    for name in Self.kernelSecrets where access("/proc/\(name)", F_OK) == 0 {
      mounts += ["--ro-bind", "/dev/null", "/proc/\(name)"]
    }
    mounts += ["--dir", "/run/centaur", "--dir", "/var", "--symlink", "../tmp", "/var/tmp"]
    return mounts
  }

  /// Files that stand for the machine's own: name → content. `BubblewrapSandbox` writes them to `<directory>/etc`.
  static func accounts(home: String) -> [String: String] {
    [
      "passwd":
        "agent:x:1000:1000:agent:\(home):/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
      "group": "agent:x:1000:\nnogroup:x:65534:\n",
      "hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
    ]
  }

  // MARK: The session

  /// The session's temporary files. Programs may lie below `/tmp` too, so this comes before them.
  private var temporary: [String] { ["--bind", spec.temporary, "/tmp"] }

  private var programs: [String] {
    let package = Self.package(of: executable)
    return ["--ro-bind", shim, Self.shimInside, "--ro-bind", package, package]
      + (spec.sockets.map { ["--ro-bind", $0.directory, Self.socketsInside] } ?? [])
      + readable.flatMap { ["--ro-bind", $0, $0] }
  }

  /// Also the temporary files have the path that the harness was told.
  private var own: [String] { [spec.temporary, spec.home, spec.workspace].flatMap { ["--bind", $0, $0] } }

  /// A name on `PATH` is often a link.
  private var executable: String {
    guard let program = spec.command.first, let real = realpath(program, nil) else { return spec.command.first ?? "" }
    defer { free(real) }
    return String(cString: real)
  }

  /// What of the machine belongs to an executable: itself, or for Codex's package also the programs that come with it.
  private static func package(of executable: String) -> String {
    let parts = executable.split(separator: "/")
    guard parts.count > 2, parts[parts.count - 2] == "bin" else { return executable }
    let package = "/" + parts.dropLast(2).joined(separator: "/")
    return FileManager.default.fileExists(atPath: "\(package)/codex-package.json") ? package : executable
  }

  private var inner: [String] {
    let command = [executable] + spec.command.dropFirst()
    guard let sockets = spec.sockets else { return command }
    var inside = sockets
    inside.model = Self.socketsInside + "/" + Self.name(sockets.model)
    inside.egress = sockets.egress.map { Self.socketsInside + "/" + Self.name($0) }
    return ShimStart.forwarding(command, to: inside, shim: Self.shimInside)
  }

  private static func name(_ path: String) -> Substring { path.split(separator: "/").last ?? "" }
}
