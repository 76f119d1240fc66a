import SessionModel

/// Runs the harness as an ordinary process of this user, under a shim. It isolates nothing, and says so.
///
/// What it does see to: the server's own environment, which may hold a provider's key, does not reach the harness; no
/// descriptor does; and whatever the harness started ends with it. Of the limits it holds that of the disk.
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
    let start = ShimStart(shim: shim, spec: spec)
    try await start.prepare()
    let meter = await SandboxMeter(spec.place, groups: nil)
    var environment = start.environment(path: path, home: spec.home, temporary: spec.temporary)
    environment[ProcessLeftovers.variable] = spec.directory
    let process = try start.spawn(
      ShimStart.forwarding(spec.command, to: spec.sockets, shim: shim), cwd: spec.workspace, environment: environment)
    let handle = StartedShim(spec.place, child: process, meter: meter, isMarked: true)
    try await handle.waitUntilReachable()
    return handle
  }

  public func find(_ place: SandboxPlace) async throws -> (handle: any SandboxHandle, isAlive: Bool) {
    try await StartedShim.find(place, groups: nil, isMarked: true)
  }

  public func stopLeftover(directory: String, fence: Int64) async -> Bool {
    guard await StartedShim.stopLeftover(directory: directory, fence: fence) else { return false }
    await ProcessLeftovers.end(of: directory)
    return true
  }
}
