import Glibc
import SessionModel
import ShimProtocol

/// A shim that runs, started by this server or by an earlier one.
struct StartedShim: SandboxHandle {
  let id: String
  let directory: String
  private let process: ProcessIdentity
  /// Whether it is a child of this process, which then must wait for it.
  private let isChild: Bool
  /// What is counted of the sandbox.
  let meter: SandboxMeter
  /// How long a shim may take to end its sandbox; it needs about seven seconds for one that resists.
  private static let patience = Duration.seconds(15)
  /// Its control groups, where it has any.
  let groups: SandboxGroups?
  /// Its processes carry its mark: those that a killed shim left behind are found and ended.
  let isMarked: Bool

  init(
    _ place: SandboxPlace, child: pid_t, meter: SandboxMeter, groups: SandboxGroups? = nil, isMarked: Bool = false
  ) { self.init(place, process: child, isChild: true, meter: meter, groups: groups, isMarked: isMarked) }

  private init(
    _ place: SandboxPlace, process: pid_t, isChild: Bool, meter: SandboxMeter, groups: SandboxGroups?, isMarked: Bool
  ) {
    (id, directory) = (place.id, place.directory)
    self.process = ProcessIdentity(process)
    self.isChild = isChild
    self.meter = meter
    self.groups = groups
    self.isMarked = isMarked
  }

  /// The shim of an earlier server, which may be gone.
  /// - Throws: `CentaurError` with `sandboxVersion`
  static func find(
    _ place: SandboxPlace, groups: SandboxGroups?, isMarked: Bool = false
  ) async throws -> (handle: any SandboxHandle, isAlive: Bool) {
    let process = ProcessIdentity(shim: place.directory)
    var hello: ShimHello?
    let deadline = ContinuousClock.now + answerTime
    repeat {
      do { hello = try await ShimLink.hello(directory: place.directory, within: answerTime) } catch {
        guard error.code != .sandboxVersion else { throw error }
        // One that lives may only have no time just now.
        guard process?.isAlive == true, .now < deadline else { break }
        try await Task.sleep(for: .milliseconds(100))
      }
    } while hello == nil
    if hello == nil { process?.signal(SIGKILL) }
    let meter = await SandboxMeter(place, groups: groups)
    // No process has the number 0.
    let handle = StartedShim(
      place, process: hello?.shimPID ?? process?.pid ?? 0, isChild: false, meter: meter, groups: groups,
      isMarked: isMarked)
    return (handle, hello != nil)
  }

  /// How long a shim may take to say who it is; one that lives and does not is of no use.
  private static let answerTime = Duration.seconds(5)

  /// Ends the shim of an earlier server by its directory; returns when it is gone.
  /// - Returns: false where it is a newer server's, and goes on
  static func stopLeftover(directory: String, fence: Int64) async -> Bool {
    let process = ProcessIdentity(shim: directory)
    return await withPatience(for: process) {
      guard await ShimLink.stop(directory: directory, fence: fence) else { return false }
      guard let process else { return true }
      // One that could not be told. A task of its own: whoever asked may be cancelled.
      await Task {
        while process.isAlive {
          process.signal(SIGKILL)
          try? await Task.sleep(for: .milliseconds(2))
        }
      }.value
      _ = waitpid(process.pid, nil, WNOHANG)
      return true
    }
  }

  /// Ends a shim by force where `body`, which waits for its end, takes too long: one that was stopped does not hear. The
  /// sandbox dies with it.
  private static func withPatience(for process: ProcessIdentity?, _ body: () async -> Bool) async -> Bool {
    let watchdog = Task {
      try await Task.sleep(for: patience)
      process?.signal(SIGKILL)
    }
    defer { watchdog.cancel() }
    return await body()
  }

  var output: SpooledOutput { SpooledOutput(sandbox: directory) }

  func withLink(
    fence: Int64, offset: Int64, _ body: @Sendable (ShimLink, ShimEvents) async throws -> Void
  ) async throws {
    try await ShimLink.with(directory: directory, fence: fence, offset: offset, body)
  }

  func limitExceeded() async -> SandboxLimit? { await meter.limitExceeded() }

  func exceededLimit() async -> SandboxLimit? { groups?.exceededLimit }

  func stop(fence: Int64) async -> Bool {
    guard await stopShim(fence) else { return false }
    if isMarked { await ProcessLeftovers.end(of: directory) }
    // Nothing can be in them any more but what the kernel is just taking down. A task of its own, as above.
    await Task { await groups?.remove() }.value
    return true
  }

  private func stopShim(_ fence: Int64) async -> Bool {
    await Self.withPatience(for: process) {
      guard await ShimLink.stop(directory: directory, fence: fence) else { return false }
      // A shim that could not be told understands a signal; one that was told has closed its last connection.
      guard !isGone else { return true }
      process.signal(SIGTERM)
      // A child is one until it is waited for. A task of its own: whoever asked may be cancelled.
      await Task { while !isGone { try? await Task.sleep(for: .milliseconds(2)) } }.value
      return true
    }
  }

  private var isGone: Bool {
    guard isChild else {
      // It may be a child none the less, of a drive that had let it go.
      if process.pid > 0 { _ = waitpid(process.pid, nil, WNOHANG) }
      return !process.isAlive
    }
    var status: Int32 = 0
    return waitpid(process.pid, &status, WNOHANG) != 0
  }

  /// The socket's name appears when the shim takes connections: a few milliseconds after its start.
  func waitUntilReachable() async throws {
    let socket = "\(directory)/socket"
    for attempt in 0..<2000 {
      if access(socket, F_OK) == 0 { return KillPoint.reach("sandbox.reachable") }
      if isGone { break }
      try await Task.sleep(for: .microseconds(attempt < 20 ? 500 : 5000))
    }
    throw CentaurError(.harnessStart, "The shim did not come up.")
  }
}
