import FoundationEssentials
import SessionModel

/// Runs the harness in namespaces of its own, made by bubblewrap: no credential, no network but the gateway's sockets,
/// nothing of the machine but its programs, nothing of other sessions.
///
/// It dies with its shim, not with the server. `docs/security.md` says what it promises and what it does not.
public struct BubblewrapSandbox: SandboxBackend {
  private let shim: String
  private let bubblewrap: String
  private let readable: [String]
  private let forbidsNamespaces: Bool
  private let groups: ControlGroups?

  /// - Parameters:
  ///   - shim: `centaur-shim`'s absolute path.
  ///   - bubblewrap: the absolute path of `bwrap`.
  ///   - readable: absolute paths that every sandbox may read beside the system's.
  ///   - forbidsNamespaces: this bubblewrap knows `--disable-userns`.
  ///   - groups: where control groups can be made; nil: limits are held by rlimits.
  public init(
    shim: String, bubblewrap: String, readable: [String] = [], forbidsNamespaces: Bool = true, groups: ControlGroups?
  ) {
    self.shim = shim
    self.bubblewrap = bubblewrap
    self.readable = readable
    self.forbidsNamespaces = forbidsNamespaces
    self.groups = groups
  }

  public var name: String { "bubblewrap" }

  public var startupNotice: String? { nil }

  public func start(_ spec: SandboxSpec) async throws -> any SandboxHandle {
    let start = ShimStart(shim: shim, spec: spec)
    try await start.prepare()
    try start.write(BubblewrapCommand.accounts(home: spec.home), to: "\(spec.directory)/etc")
    let held = groups?.make(spec.directory, spec.limits)
    if groups != nil, held == nil {
      throw CentaurError(.harnessStart, "The sandbox's control groups could not be made.")
    }
    let command = BubblewrapCommand(
      bubblewrap: bubblewrap, shim: shim, spec: spec, readable: readable, forbidsNamespaces: forbidsNamespaces,
      limits: Self.limits(spec.limits, areGrouped: held != nil))
    // A signal for the harness reaches the whole group, bubblewrap too, which would take all down with it.
    let confinement =
      [shim, "confine", "--signals", "ignored"] + (held?.directories ?? []).flatMap { ["--group", $0] } + ["--"]
    do {
      let meter = await SandboxMeter(spec.place, groups: held)
      let process = try start.spawn(
        confinement + command.arguments, cwd: "/",
        environment: start.environment(path: BubblewrapCommand.path, home: spec.home, temporary: "/tmp"))
      let handle = StartedShim(spec.place, child: process, meter: meter, groups: held)
      try await handle.waitUntilReachable()
      return handle
    } catch {
      await held?.remove()
      throw error
    }
  }

  public func find(_ place: SandboxPlace) async throws -> (handle: any SandboxHandle, isAlive: Bool) {
    let held = groups?.groups(of: place.directory)
    return try await StartedShim.find(place, groups: held?.exist == true ? held : nil)
  }

  public func stopLeftover(directory: String, fence: Int64) async -> Bool {
    guard await StartedShim.stopLeftover(directory: directory, fence: fence) else { return false }
    await groups?.groups(of: directory).remove()
    return true
  }

  private static func limits(_ limits: SandboxLimits, areGrouped: Bool) -> [(name: String, value: Int)] {
    var held = [("core", 0), ("open-files", limits.openFiles), ("file-size", limits.disk)]
    if !areGrouped { held += [("data", limits.memory), ("processes", limits.processes)] }
    return held
  }
}
