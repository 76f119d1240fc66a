public import SessionModel

/// One kind of harness: how its process is launched, and the machine that speaks its protocol.
public protocol HarnessAdapter: Sendable {
  var name: HarnessName { get }
  var lifetime: HarnessLifetime { get }
  /// How much text one turn's input may hold, in Unicode scalars; nil: any.
  var longestInput: Int? { get }
  /// The command line and the files for a process that is to work in `context`.
  /// - Throws: `CentaurError` with `harnessStart`
  func launch(_ context: HarnessContext) throws -> HarnessLaunch
  func machine(_ context: HarnessContext) -> any HarnessMachine
  /// A machine as it was saved (`HarnessMachine.saved`).
  /// - Throws: where another version saved it in a form that this one does not know
  func machine(saved: [UInt8]) throws -> any HarnessMachine
  /// Whether `state` names a conversation that the harness has begun, and that a turn with these tools can go on in. Where
  /// it does not, `HarnessContext.history` is to hold what was said before.
  func hasConversation(_ state: JSONValue?, tools: [ClientTool]) -> Bool
  /// Whether a process that was started without its session being known (with no instructions, no state and no history)
  /// can come to serve `context`, which has the same paths.
  func canBeClaimed(by context: HarnessContext) -> Bool
}

extension HarnessAdapter {
  public var longestInput: Int? { nil }
  public func hasConversation(_ state: JSONValue?, tools: [ClientTool]) -> Bool { state != nil }
  public func canBeClaimed(by context: HarnessContext) -> Bool { false }
}

/// How long one harness process serves.
public enum HarnessLifetime: Sendable, Hashable {
  /// Many turns (`codex app-server`, `claude` with stream-json).
  case session
  /// One turn; the next gets a new process (`codex exec`).
  case turn
}

/// What an adapter must know of the session that its process serves.
public struct HarnessContext: Sendable, Codable {
  public var session: SessionID
  /// The harness's executable, an absolute path.
  public var executable: String
  /// The directory in which the agent works, as the harness sees it.
  public var workspace: String
  /// The harness's own home (configuration, transcripts), as the harness sees it.
  public var home: String
  /// A private directory for temporary files, as the harness sees it.
  public var temporary: String
  /// Where model calls go, without a trailing slash (`http://127.0.0.1:4100/v1`; the port may be a word that
  /// the sandbox replaces). No credential is needed there.
  public var modelBaseURL: String
  /// The model of the session's first turn, and all that its turns may ask for.
  public var model: String
  public var models: [String]
  /// Instructions of the client and of the persona, joined.
  public var instructions: String?
  /// What an earlier process saved with `saveState`.
  public var state: JSONValue?
  /// The turn that the process is started for; nil for one that waits for its session.
  public var turn: TurnWishes?
  /// For a conversation that the harness has not begun: what was said before, oldest first.
  public var history: [Message]

  /// Functions of the client that the first turn offers.
  var tools: [ClientTool] { turn?.options.tools ?? [] }

  public init(
    session: SessionID, executable: String, workspace: String, home: String, temporary: String, modelBaseURL: String,
    model: String, models: [String], instructions: String? = nil, state: JSONValue? = nil, turn: TurnWishes? = nil,
    history: [Message] = []
  ) {
    self.session = session
    self.executable = executable
    self.workspace = workspace
    self.home = home
    self.temporary = temporary
    self.modelBaseURL = modelBaseURL
    self.model = model
    self.models = models
    self.instructions = instructions
    self.state = state
    self.turn = turn
    self.history = history
  }

  /// Linux takes no argument and no variable of more than 128 KiB: longer instructions would keep the process from
  /// starting.
  private static let longestVariable = 96 << 10

  /// What every harness process may know of its session.
  var environment: [String: String] {
    var environment = ["CENTAUR_MODEL": model]
    if let instructions, instructions.utf8.count <= Self.longestVariable {
      environment["CENTAUR_EXTRA_SYSTEM_PROMPT"] = instructions
    }
    return environment
  }
}

/// A process to start.
public struct HarnessLaunch: Sendable, Hashable {
  /// The executable's absolute path and its arguments.
  public var command: [String]
  /// All of the process's environment beside what the sandbox sets (`PATH`, `HOME`, `TMPDIR`, `LANG`).
  public var environment: [String: String]
  /// Files to be there before it starts: path relative to the harness's home → content.
  public var files: [String: [UInt8]]

  public init(command: [String], environment: [String: String] = [:], files: [String: [UInt8]] = [:]) {
    self.command = command
    self.environment = environment
    self.files = files
  }
}
