import Glibc
import SessionModel

/// A shim that this server started.
struct StartedShim: SandboxHandle {
  let id: String
  let directory: String
  let process: pid_t
  /// What is counted of the sandbox.
  let meter: SandboxMeter
  /// How long a shim may take to end its sandbox; it needs about seven seconds for one that resists.
  private static let patience = Duration.seconds(15)
  /// Its control groups, where it has any.
  var groups: SandboxGroups?
  /// Its processes carry its mark: those that a killed shim left behind are found and ended.
  var isMarked = false

  func withLink(
    fence: Int64, offset: Int64, _ body: @Sendable (ShimLink, ShimEvents) async throws -> Void
  ) async throws {
    try await ShimLink.with(directory: directory, fence: fence, offset: offset, body)
  }

  func limitExceeded() async -> SandboxLimit? { await meter.limitExceeded() }

  func exceededLimit() async -> SandboxLimit? { groups?.exceededLimit }

  func stop() async {
    await stopShim()
    if isMarked { await ProcessLeftovers.end(of: id) }
    // Nothing can be in them any more but what the kernel is just taking down. A task of its own, as above.
    await Task { await groups?.remove() }.value
  }

  private func stopShim() async {
    let process = process
    // One that was stopped does not hear; the sandbox dies with it.
    let watchdog = Task {
      try await Task.sleep(for: Self.patience)
      kill(process, SIGKILL)
    }
    defer { watchdog.cancel() }
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
      if access(socket, F_OK) == 0 { return KillPoint.reach("sandbox.reachable") }
      var status: Int32 = 0
      if waitpid(process, &status, WNOHANG) == process { break }
      try await Task.sleep(for: .microseconds(attempt < 20 ? 500 : 5000))
    }
    throw CentaurError(.harnessStart, "The shim did not come up.")
  }
}
