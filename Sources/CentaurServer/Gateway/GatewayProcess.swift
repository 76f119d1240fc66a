import CShimSystem
import Glibc
import ModelGateway
import Sandbox
import SessionModel
import ShimProtocol

/// The start of `centaur gateway` as a process that outlives the server.
struct GatewayProcess {
  /// `centaur`, an absolute path.
  let program: String
  /// The data directory, an absolute path.
  let data: String
  let environment: [String: String]

  /// What it may inherit. No key: those come by the control socket, and never stand in an environment.
  private static let inherited: Set<String> = [
    "PATH", "HOME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "RES_OPTIONS",
    "LOCALDOMAIN",
  ]

  private static let longestLog: off_t = 4 << 20

  /// - Throws: `ConfigurationError`
  func spawn() throws -> pid_t {
    let files = GatewayFiles(data: data)
    let log = open(files.log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
    let null = open("/dev/null", O_RDONLY | O_CLOEXEC)
    defer {
      close(log)
      close(null)
    }
    guard log >= 0, null >= 0 else { throw ConfigurationError("the gateway's log \(files.log) cannot be opened") }
    if lseek(log, 0, SEEK_END) > Self.longestLog { ftruncate(log, 0) }
    var pid: pid_t = 0
    // Swift's own report of a crash shows registers and what they point to, which may be a key.
    let variables =
      environment.filter { Self.inherited.union(KillPoint.variables).contains($0.key) }.map { "\($0.key)=\($0.value)" }
      + ["SWIFT_BACKTRACE=enable=no"]
    let error = withCStrings([program, "gateway", "--data", data]) { arguments in
      withCStrings(variables) { variables in
        centaur_spawn(program, arguments, variables, files.directory, null, log, log, 1, &pid)
      }
    }
    guard error == 0 else {
      throw ConfigurationError("the model gateway cannot be started: \(String(cString: strerror(error)))")
    }
    return pid
  }
}
