/// A way to run a session's harness apart from the server and from other sessions.
public protocol SandboxBackend: Sendable {
  /// `process`, `bubblewrap`, …
  var name: String { get }
  /// What a person must know at start; nil where there is nothing to warn of.
  var startupNotice: String? { get }
  /// Starts the shim, and under it the command.
  /// - Throws: `CentaurError` with `harnessStart`
  func start(_ spec: SandboxSpec) async throws -> any SandboxHandle
  /// Looks for a sandbox that an earlier server started.
  /// - Returns: how to reach it and what it left, and whether it lives.
  /// - Throws: `CentaurError` with `sandboxVersion` where it lives and its shim is another version's
  func find(_ place: SandboxPlace) async throws -> (handle: any SandboxHandle, isAlive: Bool)
  /// Ends a sandbox of an earlier server, by its shim's directory; returns when nothing of it is left.
  /// - Parameter fence: as `SandboxHandle.withLink` has it
  /// - Returns: false where the sandbox is a newer server's by now: it goes on, and its files are that one's
  func stopLeftover(directory: String, fence: Int64) async -> Bool
}

/// A sandbox that was started.
public protocol SandboxHandle: Sendable {
  var id: String { get }
  /// What the harness has printed, as it is kept.
  var output: SpooledOutput { get }
  /// Connects to the shim and runs `body` with the connection; the connection ends with it, the sandbox does not.
  /// - Parameters:
  ///   - fence: of this attachment; one that is older than any before is refused.
  ///   - offset: of the first output byte to be sent.
  /// - Throws: `CentaurError` with `harnessStart` where the shim cannot be reached, and what `body` throws
  func withLink(
    fence: Int64, offset: Int64, _ body: @Sendable (ShimLink, ShimEvents) async throws -> Void
  ) async throws
  /// Waits until something in the sandbox takes more than it may.
  /// - Returns: which limit it was; nil where the caller is cancelled, or no limit of this backend tells.
  func limitExceeded() async -> SandboxLimit?
  /// Which limit was exceeded so far: why a harness died.
  func exceededLimit() async -> SandboxLimit?
  /// Ends everything in the sandbox; returns when nothing of it is left.
  /// - Parameter fence: as above
  /// - Returns: false where the sandbox is a newer server's by now: it goes on, and its files are that one's
  func stop(fence: Int64) async -> Bool
}
