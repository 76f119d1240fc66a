public import Harness
public import Sandbox
public import SessionModel

/// What the control plane is told at start. Durations and counts are limits; `CentaurServer` reads them from the
/// configuration file.
public struct ControlPlaneConfiguration: Sendable {
  /// A harness that sessions may choose.
  public struct HarnessSetup: Sendable {
    public var adapter: any HarnessAdapter
    /// The harness's executable, an absolute path.
    public var executable: String
    /// The model that runs where the client's is not on the list.
    public var model: String
    public var models: [String]

    public init(adapter: any HarnessAdapter, executable: String, model: String, models: [String]) {
      self.adapter = adapter
      self.executable = executable
      self.model = model
      self.models = models
    }
  }

  /// A named way to begin a session.
  public struct Persona: Sendable, Hashable {
    public var harness: HarnessName?
    public var instructions: String?
    /// What the session's workspace begins with; nil: what the server's sessions begin with.
    public var workspace: WorkspaceSource?
    /// The gateway lets its sandboxes go where others may not, or the reverse.
    public var hasEgressOfItsOwn: Bool

    public init(
      harness: HarnessName? = nil, instructions: String? = nil, workspace: WorkspaceSource? = nil,
      hasEgressOfItsOwn: Bool = false
    ) {
      self.harness = harness
      self.instructions = instructions
      self.workspace = workspace
      self.hasEgressOfItsOwn = hasEgressOfItsOwn
    }
  }

  public struct Limits: Sendable {
    /// A turn's wall time.
    public var turn: Duration
    /// How long a turn waits for its client's tools each time that it calls some.
    public var toolWait: Duration
    /// How long a turn that waits for its client's tools keeps its sandbox from turns that wait for one.
    public var toolHold: Duration
    /// How many functions a request may offer to the agent.
    public var tools: Int
    /// How many bytes these may have together: names, descriptions and schemas.
    public var toolBytes: Int
    /// How many bytes one owner may have in compacted conversations and in items that wait for a conversation's next turn.
    public var kept: Int
    /// How long a harness process waits for a next turn before it is ended.
    public var idleSandbox: Duration
    /// How many sandboxes may live at once.
    public var sandboxes: Int
    /// How long a turn may wait for a sandbox where all are at work.
    public var sandboxWait: Duration
    /// How many turns may be at work or wait for a sandbox.
    public var turns: Int
    /// How long a harness may take until it accepts a turn.
    public var harnessStart: Duration
    /// The longest line that a harness may print, in bytes.
    public var harnessLine: Int
    /// How many bytes of a harness's output may wait in its shim's spool; then the harness waits.
    public var spool: Int
    /// How much one turn may add to the log, in bytes as `EventPayload.logSize` counts them.
    public var turnOutput: Int
    /// How long a session stays this server's own without being renewed.
    public var lease: Duration
    /// What a sandbox may take.
    public var sandbox: SandboxLimits
    /// How long a session that does nothing, and that nobody asks anything of, stays in memory.
    public var quiet: Duration

    public init(
      turn: Duration = .seconds(7200), toolWait: Duration = .seconds(3600), toolHold: Duration = .seconds(60),
      tools: Int = 128, toolBytes: Int = 1 << 20, kept: Int = 256 << 20,
      idleSandbox: Duration = .seconds(1800), sandboxes: Int = 16,
      sandboxWait: Duration = .seconds(60), turns: Int = 64,
      harnessStart: Duration = .seconds(60), harnessLine: Int = 64 << 20, spool: Int = 256 << 20,
      turnOutput: Int = 256 << 20, lease: Duration = .seconds(30),
      sandbox: SandboxLimits = SandboxLimits(), quiet: Duration = .seconds(60)
    ) {
      self.turn = turn
      self.toolWait = toolWait
      self.toolHold = toolHold
      self.tools = tools
      self.toolBytes = toolBytes
      self.kept = kept
      self.idleSandbox = idleSandbox
      self.sandboxes = sandboxes
      self.sandboxWait = sandboxWait
      self.turns = turns
      self.harnessStart = harnessStart
      self.harnessLine = harnessLine
      self.spool = spool
      self.turnOutput = turnOutput
      self.lease = lease
      self.sandbox = sandbox
      self.quiet = quiet
    }
  }

  /// Where sessions' directories are, an absolute path.
  public var dataDirectory: String
  /// This server's name on leases, new at each start.
  public var node: String
  /// Whether the server of that name has ended: its leases are free though they run.
  public var isDead: @Sendable (String) -> Bool
  public var harnesses: [HarnessName: HarnessSetup]
  /// The harness of a new session where neither the client nor its persona chose one, by the ingress it came by.
  public var defaultHarness: [String: HarnessName]
  public var personas: [String: Persona]
  /// What the workspaces of sessions begin with whose persona says nothing else.
  public var workspace: WorkspaceSource
  /// How long an archived session's files are kept; nil: for ever.
  public var retention: Duration?
  public var limits: Limits
  /// How many sandboxes with a harness that is up wait for new sessions, by harness.
  public var warmPool: [HarnessName: Int]
  /// The sandboxes' way out.
  public var gateway: any SandboxGateway

  public init(
    dataDirectory: String, node: String, isDead: @escaping @Sendable (String) -> Bool = { _ in false },
    harnesses: [HarnessName: HarnessSetup],
    defaultHarness: [String: HarnessName], personas: [String: Persona] = [:],
    workspace: WorkspaceSource = .empty, retention: Duration? = nil, limits: Limits = Limits(),
    warmPool: [HarnessName: Int] = [:], gateway: any SandboxGateway
  ) {
    self.dataDirectory = dataDirectory
    self.node = node
    self.isDead = isDead
    self.harnesses = harnesses
    self.defaultHarness = defaultHarness
    self.personas = personas
    self.workspace = workspace
    self.retention = retention
    self.limits = limits
    self.warmPool = warmPool
    self.gateway = gateway
  }
}

extension ControlPlaneConfiguration.Persona {
  /// Whether its sessions may have a sandbox that was made before they were known. Instructions can be given later; all
  /// else, whatever a persona comes to say, is settled when the sandbox is made.
  var fitsAnySandbox: Bool { self == Self(harness: harness, instructions: instructions) }
}

extension ControlPlaneConfiguration {
  /// What a session's workspace begins with.
  func workspace(of session: Session) -> WorkspaceSource {
    session.persona.flatMap { personas[$0]?.workspace } ?? workspace
  }

  /// The harness and persona of a new session.
  /// - Throws: `CentaurError` with `unknownHarness` or `unknownPersona`
  func choose(harness: HarnessName?, persona: String?, origin: String) throws(CentaurError) -> HarnessName {
    var chosen = harness
    if let persona {
      guard let known = personas[persona] else {
        throw CentaurError(.unknownPersona, "There is no persona named '\(persona.prefix(64))'.")
      }
      chosen = chosen ?? known.harness
    }
    guard let name = chosen ?? defaultHarness[origin] ?? harnesses.keys.sorted(by: { $0.rawValue < $1.rawValue }).first,
      harnesses[name] != nil
    else {
      let names = harnesses.keys.map(\.rawValue).sorted().joined(separator: ", ")
      throw CentaurError(
        .unknownHarness, "There is no harness named '\(chosen?.rawValue.prefix(64) ?? "")'; this server has: \(names).")
    }
    return name
  }
}
