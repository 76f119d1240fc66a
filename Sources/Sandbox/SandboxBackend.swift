/// A way to run a session's harness apart from the server and from other sessions.
public protocol SandboxBackend: Sendable {
  /// `process`, `bubblewrap`, …
  var name: String { get }
  /// What a person must know at start; nil where there is nothing to warn of.
  var startupNotice: String? { get }
  /// Starts the shim, and under it the command.
  /// - Throws: `CentaurError` with `harnessStart`
  func start(_ spec: SandboxSpec) async throws -> any SandboxHandle
  /// Ends a sandbox of an earlier server, by its shim's directory; returns when nothing of it is left.
  func stopLeftover(directory: String) async
}

/// What is to run in a sandbox. All paths are absolute; the directories exist, but for the shim's.
public struct SandboxSpec: Sendable, Hashable {
  public var id: String
  /// The shim's own files; made here.
  public var directory: String
  public var workspace: String
  public var home: String
  public var temporary: String
  /// The executable's absolute path and its arguments.
  public var command: [String]
  /// Beside `PATH`, `HOME`, `TMPDIR` and `LANG`.
  public var environment: [String: String]
  /// Files to be there first: path relative to `home` → content.
  public var files: [String: [UInt8]]
  /// How long the shim stays without a server.
  public var orphanAfter: Duration

  public init(
    id: String, directory: String, workspace: String, home: String, temporary: String, command: [String],
    environment: [String: String], files: [String: [UInt8]], orphanAfter: Duration = .seconds(6 * 3600)
  ) {
    self.id = id
    self.directory = directory
    self.workspace = workspace
    self.home = home
    self.temporary = temporary
    self.command = command
    self.environment = environment
    self.files = files
    self.orphanAfter = orphanAfter
  }
}

/// A sandbox that was started.
public protocol SandboxHandle: Sendable {
  var id: String { get }
  /// Connects to the shim and runs `body` with the connection; the connection ends with it, the sandbox does not.
  /// - Parameters:
  ///   - fence: of this attachment; an older one is refused while a newer one is there.
  ///   - offset: of the first output byte to be sent.
  /// - Throws: `CentaurError` with `harnessStart` where the shim cannot be reached, and what `body` throws
  func withLink(
    fence: Int64, offset: Int64, _ body: @Sendable (ShimLink, ShimEvents) async throws -> Void
  ) async throws
  /// Ends everything in the sandbox; returns when nothing of it is left.
  func stop() async
}
