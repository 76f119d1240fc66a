/// What is to run in a sandbox. All paths are absolute; the directories exist, but for the shim's.
public struct SandboxSpec: Sendable, Hashable {
  public var id: String
  /// The shim's own files; made here.
  public var directory: String
  public var workspace: String
  public var home: String
  public var temporary: String
  /// The executable's absolute path and its arguments. `modelPort` and `egressPort` stand for the ports of `sockets`,
  /// here and in the environment.
  public var command: [String]
  /// Beside `PATH`, `HOME`, `TMPDIR` and `LANG`.
  public var environment: [String: String]
  /// Files to be there first: path relative to `home` → content.
  public var files: [String: [UInt8]]
  /// The ways out.
  public var sockets: SandboxSockets?
  public var limits: SandboxLimits
  /// How many bytes of the harness's output may wait in the spool until they are released; then the harness waits.
  public var spoolLimit: Int
  /// How long the shim stays without a server.
  public var orphanAfter: Duration

  /// The word that stands for the loopback port of `sockets.model`.
  public static let modelPort = "@model-port@"
  /// The word that stands for the loopback port of `sockets.egress`.
  public static let egressPort = "@egress-port@"

  public init(
    id: String, directory: String, workspace: String, home: String, temporary: String, command: [String],
    environment: [String: String], files: [String: [UInt8]], sockets: SandboxSockets? = nil,
    limits: SandboxLimits = SandboxLimits(), spoolLimit: Int = 256 << 20, orphanAfter: Duration = .seconds(6 * 3600)
  ) {
    self.id = id
    self.directory = directory
    self.workspace = workspace
    self.home = home
    self.temporary = temporary
    self.command = command
    self.environment = environment
    self.files = files
    self.sockets = sockets
    self.limits = limits
    self.spoolLimit = spoolLimit
    self.orphanAfter = orphanAfter
  }
}

/// Where a sandbox is, and what it may take.
public struct SandboxPlace: Sendable, Hashable {
  public var id: String
  /// The shim's own files.
  public var directory: String
  public var workspace: String
  public var home: String
  public var temporary: String
  public var limits: SandboxLimits

  public init(
    id: String, directory: String, workspace: String, home: String, temporary: String, limits: SandboxLimits
  ) {
    self.id = id
    self.directory = directory
    self.workspace = workspace
    self.home = home
    self.temporary = temporary
    self.limits = limits
  }
}

extension SandboxSpec {
  var place: SandboxPlace {
    SandboxPlace(
      id: id, directory: directory, workspace: workspace, home: home, temporary: temporary, limits: limits)
  }
}

/// A sandbox's ways out: Unix sockets of the gateway, in one directory that holds nothing else. A sandbox sees the
/// directory, so that it finds a socket that was put in the place of an older one.
public struct SandboxSockets: Sendable, Hashable {
  /// Model calls go here.
  public var model: String
  /// A CONNECT proxy; nil: there is no way out but the model.
  public var egress: String?

  public init(model: String, egress: String? = nil) {
    self.model = model
    self.egress = egress
  }

  var directory: String { model.lastIndex(of: "/").map { String(model[..<$0]) } ?? "." }
}

/// What everything in a sandbox may take together.
public struct SandboxLimits: Sendable, Hashable {
  /// Bytes.
  public var memory: Int
  public var processes: Int
  /// Of each process.
  public var openFiles: Int
  /// Bytes of the workspace, the harness's home and the temporary files together; no single file is larger.
  public var disk: Int

  public init(memory: Int = 4 << 30, processes: Int = 1024, openFiles: Int = 8192, disk: Int = 8 << 30) {
    self.memory = memory
    self.processes = processes
    self.openFiles = openFiles
    self.disk = disk
  }
}

/// A limit that was exceeded.
public enum SandboxLimit: Sendable, Hashable, CaseIterable {
  case memory
  case processes
  case disk
}
