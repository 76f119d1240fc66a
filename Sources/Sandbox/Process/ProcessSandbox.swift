import CShimSystem
import FoundationEssentials
import Glibc
import SessionModel

/// Runs the harness as an ordinary process of this user, under a shim. It isolates nothing, and says so.
///
/// What it does see to: the server's own environment, which may hold a provider's key, does not reach the harness; no
/// descriptor does; and whatever the harness started ends with it.
public struct ProcessSandbox: SandboxBackend {
  private let shim: String
  private let path: String

  /// - Parameters:
  ///   - shim: `centaur-shim`'s absolute path.
  ///   - environment: the server's; only `PATH` is taken from it.
  public init(shim: String, environment: [String: String]) {
    self.shim = shim
    path = environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin"
  }

  public var name: String { "process" }

  public var startupNotice: String? {
    "sandbox: process — nothing is isolated: agents run with your user's rights and can read your files"
  }

  public func start(_ spec: SandboxSpec) async throws -> any SandboxHandle {
    try prepare(spec)
    let process = try spawn(spec)
    let handle = ProcessSandboxHandle(id: spec.id, directory: spec.directory, process: process)
    try await handle.waitUntilReachable()
    return handle
  }

  public func stopLeftover(directory: String) async { await ShimLink.stop(directory: directory) }

  private func prepare(_ spec: SandboxSpec) throws {
    let files = FileManager.default
    do {
      try files.createDirectory(
        atPath: spec.directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
      for (name, content) in spec.files {
        let path = "\(spec.home)/\(name)"
        if let slash = path.lastIndex(of: "/") {
          try files.createDirectory(
            atPath: String(path[..<slash]), withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        }
        guard files.createFile(atPath: path, contents: Data(content), attributes: [.posixPermissions: 0o600]) else {
          throw CentaurError(.harnessStart, "The harness's files could not be written.")
        }
      }
    } catch let error as CentaurError {
      throw error
    } catch {
      throw CentaurError(.harnessStart, "The harness's files could not be written.")
    }
  }

  private func spawn(_ spec: SandboxSpec) throws -> pid_t {
    var environment = spec.environment
    environment["PATH"] = path
    environment["HOME"] = spec.home
    environment["TMPDIR"] = spec.temporary
    environment["LANG"] = "C.UTF-8"
    // The data directory may lie in a repository of somebody's: it is not the agent's.
    environment["GIT_CEILING_DIRECTORIES"] = spec.workspace.lastIndex(of: "/").map { String(spec.workspace[..<$0]) }
    let arguments =
      [shim, "run", "--dir", spec.directory, "--cwd", spec.workspace, "--orphan-after"]
      + [String(max(1, spec.orphanAfter.components.seconds)), "--"] + spec.command
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
    return pid
  }

  private func withCStrings<T>(
    _ strings: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> T
  ) -> T {
    var copies: [UnsafeMutablePointer<CChar>?] = strings.map { strdup($0) }
    copies.append(nil)
    defer { for copy in copies { free(copy) } }
    return copies.withUnsafeBufferPointer { buffer in
      // A buffer that holds at least the closing nil has a base address.
      guard let base = buffer.baseAddress else { preconditionFailure("an empty argument list") }
      return body(base)
    }
  }
}

/// A shim that this server started.
struct ProcessSandboxHandle: SandboxHandle {
  let id: String
  let directory: String
  let process: pid_t

  func withLink(
    fence: Int64, offset: Int64, _ body: @Sendable (ShimLink, ShimEvents) async throws -> Void
  ) async throws {
    try await ShimLink.with(directory: directory, fence: fence, offset: offset, body)
  }

  func stop() async {
    await ShimLink.stop(directory: directory)
    // A shim that could not be told understands a signal; one that was told has closed its last connection.
    var status: Int32 = 0
    guard waitpid(process, &status, WNOHANG) == 0 else { return }
    kill(process, SIGTERM)
    // It is our child until it is waited for. A task of its own: whoever asked may be cancelled.
    await Task {
      var status: Int32 = 0
      while waitpid(process, &status, WNOHANG) == 0 { try? await Task.sleep(for: .milliseconds(2)) }
    }.value
  }

  /// The socket's name appears when the shim takes connections: a few milliseconds after its start.
  func waitUntilReachable() async throws {
    let socket = "\(directory)/socket"
    for attempt in 0..<2000 {
      if access(socket, F_OK) == 0 { return }
      var status: Int32 = 0
      if waitpid(process, &status, WNOHANG) == process { break }
      try await Task.sleep(for: .microseconds(attempt < 20 ? 500 : 5000))
    }
    throw CentaurError(.harnessStart, "The shim did not come up.")
  }
}
