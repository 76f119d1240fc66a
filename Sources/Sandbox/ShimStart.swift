import CShimSystem
import FoundationEssentials
import Glibc
import SessionModel
import ShimProtocol

/// Starts a shim in a sandbox's directory, and under it a command: what all backends have in common.
struct ShimStart {
  let shim: String
  let spec: SandboxSpec

  /// A command that finds the gateway's sockets at loopback ports.
  static func forwarding(_ command: [String], to sockets: SandboxSockets?, shim: String) -> [String] {
    guard let sockets else { return command }
    var forwarder = [shim, "forward", "--to", "\(SandboxSpec.modelPort)=\(sockets.model)"]
    if let egress = sockets.egress { forwarder += ["--to", "\(SandboxSpec.egressPort)=\(egress)"] }
    return forwarder + ["--"] + command
  }

  /// The variables that every harness has beside its own.
  func environment(path: String, home: String, temporary: String) -> [String: String] {
    var environment = spec.environment
    environment["PATH"] = path
    environment["HOME"] = home
    environment["TMPDIR"] = temporary
    environment["LANG"] = "C.UTF-8"
    // The data directory may lie in a repository of somebody's: it is not the agent's.
    environment["GIT_CEILING_DIRECTORIES"] = spec.workspace.lastIndex(of: "/").map { String(spec.workspace[..<$0]) }
    return environment
  }

  /// Makes the shim's directory and the harness's files. What a harness left in its home may be a trap: names are looked
  /// up below it, and a link is replaced, not followed.
  /// - Throws: `CentaurError` with `harnessStart`
  func prepare() async throws {
    do {
      try FileManager.default.createDirectory(
        atPath: spec.directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
      for directory in [spec.workspace, spec.home, spec.temporary] { try await Tree.letOwnerIn(directory) }
      let home = try await WorkspaceFiles(workspace: spec.home)
      for (name, content) in spec.files {
        let path = try WorkspacePath(name)
        try await home.clear(path)
        var file = try await home.write(path, limit: .max, mode: 0o600)
        do {
          try await file.write(content)
          try await file.finish()
        } catch {
          file.giveUp()
          throw error
        }
      }
    } catch {
      throw CentaurError(.harnessStart, "The harness's files could not be written.")
    }
    KillPoint.reach("sandbox.directories")
  }

  /// Writes files of ours into a directory of the sandbox's own.
  /// - Throws: `CentaurError` with `harnessStart`
  func write(_ files: [String: String], to directory: String) throws {
    do {
      try FileManager.default.createDirectory(
        atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
      for (name, text) in files {
        try Data(text.utf8).write(to: URL(filePath: "\(directory)/\(name)"))
      }
    } catch {
      throw CentaurError(.harnessStart, "The sandbox's files could not be written.")
    }
  }

  /// - Parameters:
  ///   - command: what the shim runs, instead of the harness itself.
  ///   - cwd: where it starts.
  /// - Throws: `CentaurError` with `harnessStart`
  func spawn(_ command: [String], cwd: String, environment: [String: String]) throws -> pid_t {
    let arguments =
      [
        shim, "run", "--dir", spec.directory, "--cwd", cwd, "--orphan-after",
        String(max(1, spec.orphanAfter.components.seconds)), "--spool-limit", String(spec.spoolLimit),
      ] + KillPoint.shimArguments + ["--"] + command
    let null = open("/dev/null", O_RDWR | O_CLOEXEC)
    guard null >= 0 else { throw CentaurError(.harnessStart, "No descriptor is left for a sandbox.") }
    defer { close(null) }
    var pid: pid_t = 0
    let error = withCStrings(arguments) { arguments in
      withCStrings(environment.map { "\($0.key)=\($0.value)" }) { environment in
        centaur_spawn(shim, arguments, environment, spec.directory, null, null, null, 1, &pid)
      }
    }
    guard error == 0 else {
      throw CentaurError(.harnessStart, "The shim could not be started: \(String(cString: strerror(error))).")
    }
    KillPoint.reach("sandbox.spawned")
    return pid
  }
}
