import CShimSystem
import Glibc
import ShimProtocol

/// The clone of a local repository, made by the `git` program.
///
/// It is asked for nothing else: no hooks and no templates, no settings of the machine or the user, no prompt, no
/// credential, no protocol but that of local directories, no submodules. It copies what the repository's branches and
/// tags reach, not its files: hard links into it would let an agent write there. `git` itself refuses a repository that
/// belongs to another user.
struct GitClone {
  let repository: String
  let ref: String?
  /// Does not exist.
  let target: String
  /// In bytes.
  let limit: Int
  let timeout: Duration

  private enum Place {
    case head
    /// A branch, or a tag.
    case name(String)
    case commit(String)
  }

  /// - Throws: `WorkspaceFailure`
  func make() async throws {
    let deadline = ContinuousClock.now + timeout
    guard access(repository, F_OK) == 0 else {
      throw WorkspaceFailure("its repository is not there.", detail: repository)
    }
    let place = try await find(deadline)
    var arguments = ["clone", "--quiet", "--no-local", "--no-hardlinks", "--no-recurse-submodules", "--template="]
    switch place {
    case .head: break
    case .name(let name): arguments.append("--branch=\(name)")
    case .commit: arguments.append("--no-checkout")
    }
    try await expect(arguments + ["--", repository, target], deadline)
    if case .commit(let id) = place {
      try await expect(["-C", target, "checkout", "--quiet", "--detach", id], deadline)
    }
    // The agent is not to write to the repository that its own came from; what it can still see are its branches.
    try await expect(["-C", target, "config", "--remove-section", "remote.origin"], deadline)
    if let branch = try await branch(deadline) {
      _ = try await run(["-C", target, "config", "--remove-section", "branch.\(branch)"], deadline)
    }
    guard chmod(target, 0o700) == 0 else { throw WorkspaceFailure("it cannot be made.", detail: "chmod") }
  }

  /// Whether there is something to clone.
  /// - Throws: `WorkspaceFailure`
  func check() async throws {
    let deadline = ContinuousClock.now + timeout
    guard access(repository, F_OK) == 0 else {
      throw WorkspaceFailure("its repository is not there.", detail: repository)
    }
    // As a clone begins.
    try await expect(["ls-remote", "--quiet", "--", repository, "HEAD"], deadline)
    _ = try await find(deadline)
  }

  /// What `ref` names: a branch before a tag, a tag before a commit.
  private func find(_ deadline: ContinuousClock.Instant) async throws -> Place {
    guard let ref else { return .head }
    guard WorkspaceSource.isRef(ref) else { throw WorkspaceFailure("'\(ref.prefix(128))' cannot be a Git ref.") }
    for space in ["refs/heads/", "refs/tags/"] {
      let name = ref.hasPrefix(space) ? String(ref.dropFirst(space.count)) : ref
      if try await names("\(space)\(name)^{commit}", deadline) { return .name(name) }
    }
    let isHex = (4...64).contains(ref.count) && ref.utf8.allSatisfy { Character(Unicode.Scalar($0)).isHexDigit }
    if isHex, try await names("\(ref)^{commit}", deadline) { return .commit(ref) }
    throw WorkspaceFailure("its repository has no branch, tag or commit '\(ref.prefix(128))'.")
  }

  private func names(_ object: String, _ deadline: ContinuousClock.Instant) async throws -> Bool {
    let result = try await run(["-C", repository, "rev-parse", "--quiet", "--verify", object], deadline)
    if result.status > 1 { throw failure(result) }
    return result.status == 0
  }

  /// The branch that is checked out in the clone, where one is.
  private func branch(_ deadline: ContinuousClock.Instant) async throws -> String? {
    let result = try await run(["-C", target, "symbolic-ref", "--quiet", "--short", "HEAD"], deadline)
    return result.status == 0 ? result.output : nil
  }

  // MARK: The program

  private struct Result {
    var status: Int32
    /// The first line of its output.
    var output: String
    var errors: String
  }

  private func expect(_ arguments: [String], _ deadline: ContinuousClock.Instant) async throws {
    let result = try await run(arguments, deadline)
    guard result.status == 0 else { throw failure(result) }
  }

  private func failure(_ result: Result) -> WorkspaceFailure {
    let reason = result.status == 127 ? "the program git is not there." : "git could not clone its repository."
    return WorkspaceFailure(reason, detail: "status \(result.status): \(result.errors)")
  }

  private func run(_ arguments: [String], _ deadline: ContinuousClock.Instant) async throws -> Result {
    guard ContinuousClock.now < deadline else { throw tooSlow }
    let output = try scratch()
    let errors = try scratch()
    let input = try Descriptor.opened(open("/dev/null", O_RDONLY | O_CLOEXEC))
    let settings = [
      "-c", "core.hooksPath=/dev/null", "-c", "submodule.recurse=false", "-c", "advice.detachedHead=false",
      "-c", "gc.auto=0", "-c", "maintenance.auto=false",
    ]
    var pid: pid_t = 0
    let error = withCStrings(["env", "git"] + settings + arguments) { arguments in
      withCStrings(Self.environment) { environment in
        centaur_spawn(
          "/usr/bin/env", arguments, environment, "/", input.number, output.number, errors.number, 1, &pid)
      }
    }
    guard error == 0 else { throw WorkspaceFailure("git cannot be started.", detail: SystemFailure(error).description) }
    let status = try await end(of: pid, deadline)
    return Result(status: status, output: text(output), errors: text(errors))
  }

  private static var environment: [String] {
    [
      "PATH=\(getenv("PATH").map { String(cString: $0) } ?? "/usr/local/bin:/usr/bin:/bin")", "HOME=/nonexistent",
      "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=false",
      "GIT_ALLOW_PROTOCOL=file", "GIT_NO_LAZY_FETCH=1", "GIT_OPTIONAL_LOCKS=0", "GIT_LFS_SKIP_SMUDGE=1",
    ]
  }

  /// Waits for the program, and ends it with all that it started when it takes too long or too much room.
  private func end(of pid: pid_t, _ deadline: ContinuousClock.Instant) async throws -> Int32 {
    // Of its own: a child that nobody waits for stays for ever, so this is not cancelled half way.
    try await Task {
      var status: Int32 = 0
      var failure: WorkspaceFailure?
      var nextLook = ContinuousClock.now + .milliseconds(200)
      while waitpid(pid, &status, WNOHANG) == 0 {
        if failure == nil, ContinuousClock.now >= deadline {
          failure = tooSlow
        } else if failure == nil, ContinuousClock.now >= nextLook {
          let begun = ContinuousClock.now
          if await isTooLarge() { failure = tooLarge }
          // A large tree is not looked at all the time.
          nextLook = .now + max(.milliseconds(200), (.now - begun) * 10)
        }
        if failure != nil { kill(-pid, SIGKILL) }
        try? await Task.sleep(for: .milliseconds(2))
      }
      if let failure { throw failure }
      if await isTooLarge() { throw tooLarge }
      return status & 0x7F == 0 ? (status >> 8) & 0xFF : 128 + (status & 0x7F)
    }.value
  }

  private var tooSlow: WorkspaceFailure {
    WorkspaceFailure("git did not clone its repository within \(timeout).")
  }

  private var tooLarge: WorkspaceFailure {
    WorkspaceFailure("its repository is larger than the limit of \(limit) bytes.")
  }

  private func isTooLarge() async -> Bool {
    let (target, limit) = (target, limit)
    return ((try? await blocking { Tree.measure(target, atMost: limit).bytes }) ?? 0) > limit
  }

  /// A file without a name, for what a program prints.
  private func scratch() throws -> Descriptor {
    let path = "\(target).\(String(UInt64.random(in: 0 ... .max), radix: 16))"
    let file = try Descriptor.opened(open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600))
    unlink(path)
    return file
  }

  /// The beginning of what was printed.
  private func text(_ file: Descriptor) -> String {
    let bytes = [UInt8](unsafeUninitializedCapacity: 2000) { buffer, count in
      count = max(0, pread(file.number, buffer.baseAddress, buffer.count, 0))
    }
    let text = String(decoding: bytes, as: UTF8.self)
    return text.hasSuffix("\n") ? String(text.dropLast()) : text
  }
}
