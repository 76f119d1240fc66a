import Foundation
import Glibc
import SessionModel
import ShimProtocol
import Testing

@testable import Sandbox

/// What a model's command gets of the machine: nothing that is not its session's.
@Suite(.timeLimit(.minutes(30)))
struct BubblewrapTests {
  private let directory: SandboxDirectory
  private static let path = "/usr/local/bin:/usr/bin:/bin"

  init() throws { directory = try SandboxDirectory() }

  private func check(path: String = path) async -> BubblewrapCheck {
    await BubblewrapCheck.run(shim: ShimBinary.path, directory: directory.root, readable: [], path: path)
  }

  /// Starts a script as the harness of a sandbox, which is stopped when `body` ends.
  private func run<T: Sendable>(
    _ script: String, limits: SandboxLimits = SandboxLimits(), sockets: SandboxSockets? = nil, groups: Bool = true,
    _ body: (any SandboxHandle) async throws -> T
  ) async throws -> T {
    let check = await check()
    var backend = try #require(check.sandbox, "\(check.findings)")
    if !groups { backend = BubblewrapSandbox(shim: ShimBinary.path, bubblewrap: "/usr/bin/bwrap", groups: nil) }
    var spec = directory.spec(["/bin/sh", "-c", script])
    spec.limits = limits
    spec.sockets = sockets
    return try await directory.run(spec, in: backend, body)
  }

  /// What a script says, and where it failed the end of its standard error.
  private func say(
    _ script: String, limits: SandboxLimits = SandboxLimits(), groups: Bool = true
  ) async throws -> String {
    let heard = try await run(script, limits: limits, groups: groups) { try await $0.untilExit() }
    return heard.text + (heard.exit?.status == 0 ? "" : "\n\(heard.exit.map { "\($0)" } ?? "no end")")
  }

  // MARK: Whether it works

  @Test("where it works, the check says so, and what holds the limits")
  func works() async {
    let check = await check()
    #expect(check.findings.map(\.name) == ["bubblewrap", "namespaces", "limits"])
    #expect(check.findings.allSatisfy { $0.isGood }, "\(check.findings)")
    #expect(check.sandbox != nil)
  }

  @Test("without bubblewrap the check names what is missing")
  func missing() async {
    let check = await check(path: directory.root)
    #expect(check.sandbox == nil)
    #expect(check.findings.last?.text == "there is no `bwrap` on PATH; install the package bubblewrap")
  }

  @Test("a bubblewrap that may not make namespaces is told with its own words and with what to look at")
  func forbidden() async throws {
    let script = "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n"
    try directory.write("bwrap", script)
    chmod("\(directory.root)/bwrap", 0o755)
    let check = await check(path: directory.root)
    #expect(check.sandbox == nil)
    let finding = try #require(check.findings.last)
    #expect(finding.name == "namespaces" && !finding.isGood)
    #expect(finding.text.contains("No permissions to create new namespace"))
    #expect(finding.text.contains("kernel.unprivileged_userns_clone"))
  }

  @Test("a bubblewrap that isolates nothing is found out by what is seen from inside")
  func pretended() async throws {
    // It drops all that it is told and runs the shell as it is.
    let script = "#!/bin/sh\nwhile [ \"$1\" != -c ]; do shift; done\nexec /bin/sh \"$@\"\n"
    try directory.write("bwrap", script)
    chmod("\(directory.root)/bwrap", 0o755)
    let check = await check(path: directory.root)
    #expect(check.sandbox == nil)
    #expect(check.findings.last?.text.contains("it sees the data directory") == true)
  }

  // MARK: What is inside

  @Test("it is nobody of the machine: another user, no capability, no way to new ones")
  func identity() async throws {
    let said = try await say(
      """
      id -u; grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | tr -d '\\t' | sort -u; grep NoNewPrivs /proc/self/status
      unshare -U true 2>/dev/null && echo "a new namespace"
      mount -t tmpfs none /tmp 2>/dev/null && echo mounted
      chroot / true 2>/dev/null && echo chroot
      hostname
      """)
    let lines = said.split(separator: "\n")
    #expect(lines.first == "1000")
    #expect(lines.contains { $0.contains("NoNewPrivs") && $0.hasSuffix("1") })
    let capabilities = lines.filter { $0.hasPrefix("Cap") }
    #expect(capabilities.count == 5 && capabilities.allSatisfy { $0.hasSuffix(":0000000000000000") }, "\(said)")
    #expect(lines.last == "sandbox" && !said.contains("namespace") && !said.contains("mounted"), "\(said)")
  }

  @Test("of the machine's files it sees programs, and not one that could hold a secret")
  func files() async throws {
    try directory.write("secret", "the key")
    let said = try await say(
      """
      for path in \(directory.root)/secret \(directory.shim)/socket /root /home /etc/shadow /etc/ssl/private /var/lib /sys /opt /mnt
      do [ -e "$path" ] && echo "sees $path"; done
      ls / ; ls \(directory.root)
      """)
    #expect(!said.contains("sees "), "\(said)")
    let seen = Set(said.split(separator: "\n").map(String.init))
    #expect(
      seen.isSubset(of: [
        "bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "run", "sbin", "tmp", "usr", "var", "work",
        "home",
      ]), "\(said)")
  }

  @Test("it can write to its workspace, its home and its temporary files, and to nothing else")
  func writing() async throws {
    let said = try await say(
      """
      for place in . "$HOME" "$TMPDIR" /tmp /var/tmp /dev/shm \(directory.root)/tmp
      do touch "$place/x" || echo "cannot write to $place"; done
      for place in / /usr /usr/bin /etc /dev /run /run/centaur /proc /proc/sys/kernel
      do touch "$place/x" 2>/dev/null && echo "can write to $place"; done
      for file in $(find /proc -type f -writable -not -path '/proc/[0-9]*' 2>/dev/null)
      do [ -c "$file" ] || echo "can change $file"; done
      cat /proc/kallsyms /proc/keys /proc/timer_list | wc -c
      ln -s \(directory.root)/secret ./link; cat ./link 2>/dev/null && echo "read a link"
      echo changed > /run/centaur/shim 2>/dev/null && echo "changed the shim"
      pwd; echo "$HOME"
      """)
    #expect(said == "0\n\(directory.root)/work\n\(directory.root)/home\n")
    #expect(FileManager.default.fileExists(atPath: "\(directory.root)/work/x"))
  }

  @Test("a harness that lies below /tmp is found, though that is another directory inside")
  func below() async throws {
    let program = "\(directory.root)/harness"
    try FileManager.default.copyItem(atPath: "/bin/cat", toPath: program)
    let check = await check()
    let spec = directory.spec([program, "/proc/self/comm"])
    let heard = try await directory.run(spec, in: #require(check.sandbox)) { try await $0.untilExit() }
    #expect(heard.text == "harness\n")
  }

  @Test("it sees no process but its own, and no environment but its own")
  func processes() async throws {
    setenv("CENTAUR_TEST_SECRET", "the key", 1)
    defer { unsetenv("CENTAUR_TEST_SECRET") }
    let said = try await say(
      """
      cat /proc/[0-9]*/environ | tr '\\0' '\\n' | grep -c "[S]ECRET"
      cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' | grep -c "[x]ctest"
      kill -9 \(getpid()) 2>/dev/null && echo killed
      """)
    #expect(said.hasPrefix("0\n0\n") && !said.contains("killed"), "\(said)")
  }

  @Test("there is no network: not to the machine's loopback, not to any address, not to an abstract socket")
  func network() async throws {
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(listener) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        #expect(bind(listener, $0, length) == 0 && listen(listener, 8) == 0 && getsockname(listener, $0, &length) == 0)
      }
    }
    let port = UInt16(bigEndian: address.sin_port)
    let said = try await say(
      """
      for host in 127.0.0.1 ::1 10.0.0.1 192.0.2.1 169.254.169.254
      do timeout 2 bash -c "exec 3<>/dev/tcp/$host/\(port)" 2>/dev/null && echo "reached $host"; done
      cat /proc/net/dev | tail -n +3 | cut -d: -f1 | tr -d ' '; cat /proc/net/unix | tail -n +2 | wc -l
      """)
    #expect(said == "lo\n0\n")
  }

  // MARK: Its end

  /// Waits until no process has `mark` on its command line.
  private func untilGone(_ mark: String) async throws {
    func isThere() -> Bool {
      let entries = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
      return entries.contains { entry in
        guard let pid = pid_t(entry), pid != getpid(), isRunning(pid) else { return false }
        return FileManager.default.contents(atPath: "/proc/\(entry)/cmdline")
          .map { String(decoding: $0, as: UTF8.self).contains(mark) } ?? false
      }
    }
    while isThere() { try await Task.sleep(for: .milliseconds(10)) }
  }

  @Test("what hid in sessions of its own ends with the harness")
  func daemons() async throws {
    let mark = "\(UInt32.random(in: 1_000_000 ... .max))"
    let heard = try await run("setsid sleep \(mark) & (setsid nohup sleep \(mark) &) ; echo started") {
      try await $0.untilExit()
    }
    #expect(heard.text == "started\n")
    try await untilGone(mark)
  }

  @Test("all of it ends with the shim, whatever ended that")
  func shimKilled() async throws {
    let mark = "\(UInt32.random(in: 1_000_000 ... .max))"
    try await run("setsid sleep \(mark) & echo started; exec sleep \(mark)") { sandbox in
      let shim = try await sandbox.attach { link, listener in
        try await listener.listen { $0.text == "started\n" }
        return link.hello.shimPID
      }
      kill(shim, SIGKILL)
      try await untilGone(mark)
    }
  }

  @Test("a turn that ends the way to the gateway costs its sandbox, not the session's later turns")
  func carrierKilled() async throws {
    mkdir("\(directory.root)/gateway", 0o700)
    let sockets = SandboxSockets(model: "\(directory.root)/gateway/model.sock")
    let script = "echo up; read line; pkill -9 -f 'carr[y]'; echo killed; exec cat"
    try await run(script, sockets: sockets) { sandbox in
      try await sandbox.attach { link, listener in
        _ = try await listener.listen { $0.text == "up\n" }
        try await link.keep()
        try await link.send(inputID: "a", bytes: Array("go\n".utf8))
        _ = try await listener.listen { $0.text == "up\nkilled\n" }
        try await link.sweep()
        // The shim goes, or tells the end before.
        await #expect(throws: Listener.Ended.self) { while true { try await listener.listen { _ in false } } }
      }
    }
  }

  @Test("files that a harness needs are written whatever it left in their place, and never through a link")
  func launchFiles() async throws {
    try directory.write("victim", "untouched")
    let home = "\(directory.root)/home"
    mkdir("\(home)/config.toml", 0o700)
    symlink("\(directory.root)/victim", "\(home)/catalog.json")
    symlink(directory.root, "\(home)/projects")
    chmod(home, 0)
    let check = await check()
    var spec = directory.spec(["/bin/cat", "config.toml", "catalog.json", "projects/a"])
    spec.workspace = home
    spec.files = ["config.toml": [49], "catalog.json": [50], "projects/a": [51]]
    let heard = try await directory.run(spec, in: #require(check.sandbox)) { try await $0.untilExit() }
    #expect(heard.text == "123")
    #expect(try String(contentsOfFile: "\(directory.root)/victim", encoding: .utf8) == "untouched")
    #expect(!FileManager.default.fileExists(atPath: "\(directory.root)/a"))
  }

  @Test("a signal reaches the harness and not what holds it")
  func interrupted() async throws {
    let script = "trap 'echo interrupted; exit 3' INT; echo ready; while true; do sleep 0.01; done"
    let heard = try await run(script) { sandbox in
      try await sandbox.attach { link, listener in
        try await listener.listen { $0.text == "ready\n" }
        try await link.signal(SIGINT)
        return try await listener.listen { $0.exit != nil }
      }
    }
    #expect(heard.text == "ready\ninterrupted\n")
    #expect(heard.exit?.status == 3)
  }

  @Test("a harness is told to end before it is made to")
  func asked() async throws {
    let mark = "\(directory.root)/work/said"
    try await run("trap 'echo bye > \(mark); exit 0' TERM; echo ready; while true; do sleep 0.01; done") { sandbox in
      try await sandbox.attach { _, listener in _ = try await listener.listen { $0.text == "ready\n" } }
    }
    #expect(try String(contentsOfFile: mark, encoding: .utf8) == "bye\n")
  }

  // MARK: Limits

  private static func limits(
    memory: Int = 1 << 30, processes: Int = 64, openFiles: Int = 64, disk: Int = 64 << 20
  ) -> SandboxLimits {
    SandboxLimits(memory: memory, processes: processes, openFiles: openFiles, disk: disk)
  }

  @Test("more memory than it may have is not had, and is told")
  func memory() async throws {
    // Doubles a string, up to 512 MB.
    let hog =
      "python3 -c 's = b\"x\" * (1 << 20)\nfor _ in range(9): s = s + s\n'; exec sleep 60"
    try await run(hog, limits: Self.limits(memory: 96 << 20)) { sandbox in
      #expect(await sandbox.limitExceeded() == .memory)
      #expect(await sandbox.exceededLimit() == .memory)
    }
    let within = try await say(
      "python3 -c 's = b\"x\" * (32 << 20); print(len(s))'", limits: Self.limits(memory: 96 << 20))
    #expect(within == "\(32 << 20)\n")
  }

  @Test("more processes than it may have do not start, and that is told")
  func bomb() async throws {
    let bomb = "i=0; while [ $i -lt 100 ]; do sleep 60 & i=$((i+1)); done; exec sleep 60"
    try await run(bomb, limits: Self.limits(processes: 40)) { sandbox in
      #expect(await sandbox.limitExceeded() == .processes)
    }
    let within = "i=0; while [ $i -lt 20 ]; do sleep 0.1 & i=$((i+1)); done; wait; echo all"
    #expect(try await say(within, limits: Self.limits(processes: 40)) == "all\n")
  }

  @Test("more on the disk than it may have is told, and no file grows beyond it")
  func disk() async throws {
    let filler = "for i in 1 2 3 4 5 6; do dd if=/dev/zero of=f$i bs=1M count=4 2>/dev/null; done; exec sleep 60"
    try await run(filler, limits: Self.limits(disk: 16 << 20)) { sandbox in
      #expect(await sandbox.limitExceeded() == .disk)
    }
    _ = try await say("dd if=/dev/zero of=large bs=1M count=40 2>/dev/null; true", limits: Self.limits(disk: 16 << 20))
    let size = try FileManager.default.attributesOfItem(atPath: "\(directory.root)/work/large")[.size] as? Int
    #expect(try #require(size) <= 16 << 20)
  }

  @Test("what is too deep to be counted counts as too much, in every turn")
  func deep() async throws {
    try directory.write(
      "work/deep.py", "import os\nfor _ in range(20):\n  os.mkdir('d' * 250)\n  os.chdir('d' * 250)\n")
    for script in ["python3 deep.py; exec sleep 60", "exec sleep 60"] {
      try await run(script) { sandbox in #expect(await sandbox.limitExceeded() == .disk) }
    }
  }

  @Test("what nobody may read is counted like anything else")
  func unreadable() async throws {
    let unreadable =
      "mkdir closed; dd if=/dev/zero of=closed/f bs=1M count=24 2>/dev/null; chmod 0 closed; exec sleep 60"
    try await run(unreadable, limits: Self.limits(disk: 16 << 20)) { sandbox in
      #expect(await sandbox.limitExceeded() == .disk)
    }
  }

  @Test("a session that is full already may go on, and make room")
  func full() async throws {
    try Data(count: 24 << 20).write(to: URL(filePath: "\(directory.root)/work/old"))
    let script = "sleep 1.5; rm old; dd if=/dev/zero of=new bs=1M count=4 2>/dev/null; echo made room"
    let heard = try await run(script, limits: Self.limits(disk: 16 << 20)) { sandbox in
      let watch = Task { await sandbox.limitExceeded() }
      let heard = try await sandbox.untilExit()
      watch.cancel()
      #expect(await watch.value == nil)
      return heard
    }
    #expect(heard.text == "made room\n")
  }

  @Test("open files are limited for each process")
  func openFiles() async throws {
    let script = "ulimit -n; python3 -c 'f = [open(\"/dev/null\") for _ in range(100)]' 2>&1 | tail -1"
    let said = try await say(script, limits: Self.limits(openFiles: 64))
    #expect(said.hasPrefix("64\n") && said.contains("Too many open files"), "\(said)")
  }

  @Test("where no control group can be made, rlimits hold each process")
  func rlimits() async throws {
    let script = "ulimit -d; bash -c \"ulimit -u\"; python3 -c 's = b\"x\" * (512 << 20)' 2>&1 | tail -1"
    let said = try await say(script, limits: Self.limits(memory: 256 << 20, processes: 1000), groups: false)
    #expect(said == "\(256 << 10)\n1000\nMemoryError\n")
  }
}
