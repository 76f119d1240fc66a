public import ModelGateway
public import Sandbox

/// What the server is told by its configuration file, its environment and its command line. The defaults are those of
/// a server on one's own machine.
public struct ServerConfiguration: Sendable, Hashable {
  public struct Address: Sendable, Hashable, CustomStringConvertible {
    public var host: String
    /// 0: any free one.
    public var port: Int
    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    /// Only this machine reaches it.
    public var isLoopback: Bool { ["127.0.0.1", "localhost", "::1"].contains(host) }

    /// Reads `127.0.0.1:8787`, `[::1]:8787`.
    public init?(_ text: String) {
      guard let colon = text.lastIndex(of: ":") else { return nil }
      let digits = text[text.index(after: colon)...]
      guard digits.allSatisfy({ $0.isASCII && $0.isNumber }), let port = Int(digits), port <= 65535 else { return nil }
      var host = text[..<colon]
      if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
      guard !host.isEmpty, !host.contains(where: { "[]".contains($0) }) else { return nil }
      self.host = String(host)
      self.port = port
    }
  }

  public struct Provider: Sendable, Hashable {
    public var baseURL: String
    /// The environment variable that holds the key.
    public var apiKeyEnvironment: String?
    /// The file that holds the key, an absolute path, in the place of a variable.
    public var apiKeyFile: String?
    /// Sent with each call.
    public var headers: [String: String] = [:]
    /// Whose API it speaks; it decides where the key goes and whether the base URL has the version in it.
    public var dialect: Dialect
    /// How long a provider may be silent.
    public var timeout: Duration = .seconds(600)
    public init(baseURL: String, apiKeyEnvironment: String?, dialect: Dialect = .openAI) {
      self.baseURL = baseURL
      self.apiKeyEnvironment = apiKeyEnvironment
      self.dialect = dialect
    }

    public enum Dialect: String, Sendable, Hashable, CaseIterable {
      /// `Authorization: Bearer`, and a base URL such as `https://api.openai.com/v1`
      case openAI = "openai"
      /// `x-api-key`, and a base URL such as `https://api.anthropic.com`
      case anthropic
    }
  }

  public struct Harness: Sendable, Hashable {
    public var provider: String
    public var model: String
    public var models: [String]
    /// The executable; nil: looked for.
    public var binary: String?
    public init(provider: String, model: String, models: [String], binary: String? = nil) {
      self.provider = provider
      self.model = model
      self.models = models
      self.binary = binary
    }
  }

  public struct Persona: Sendable, Hashable {
    public var harness: String?
    public var instructions: String?
    public var workspace: WorkspaceSource?
    /// In the place of the server's.
    public var egress: EgressRules?
  }

  public struct Limits: Sendable, Hashable {
    /// A request's body, in bytes.
    public var body = 64 << 20
    /// A turn's wall time.
    public var turn: Duration = .seconds(7200)
    /// How long a turn waits for its client's tools each time that it calls some.
    public var toolWait: Duration = .seconds(3600)
    /// How long a turn that waits for its client's tools keeps its sandbox from turns that wait for one.
    public var toolHold: Duration = .seconds(60)
    /// How many functions a request may offer to the agent.
    public var tools = 128
    /// How many bytes they may have together.
    public var toolBytes = 1 << 20
    /// How many bytes an owner may have in compacted conversations and in items that wait for a turn.
    public var kept = 256 << 20
    /// How long a sandbox waits for its session's next turn.
    public var idleSandbox: Duration = .seconds(1800)
    public var sandboxes = 16
    /// How long a turn may wait for a sandbox where all are at work.
    public var sandboxWait: Duration = .seconds(60)
    /// How many turns may be at work or wait for a sandbox; at least as many as there are sandboxes.
    public var turns = 64
    /// How long a harness may take until it accepts a turn.
    public var harnessStart: Duration = .seconds(60)
    /// How long a session stays this server's own without a sign of life.
    public var lease: Duration = .seconds(30)
    /// The longest line that a harness may print, in bytes.
    public var harnessLine = 64 << 20
    /// How much of a harness's output may wait in its spool, in bytes; then the harness waits.
    public var spool = 256 << 20
    /// How much one turn may add to the log, in bytes.
    public var turnOutput = 256 << 20
    /// Requests a minute of a key that has no limit of its own.
    public var keyRequests = 600
    /// Turns at work or waiting of a key that has no limit of its own.
    public var keyTurns = 16
    /// Connections of clients at one time.
    public var connections = 8192
    /// How long a connection may be without a request, and how long a request's head or a pause in its body may take.
    public var idleConnection: Duration = .seconds(300)
    /// How long a request may take from its head to the end of its body.
    public var request: Duration = .seconds(600)
    /// How long a client may leave unread what was written to it.
    public var writeStall: Duration = .seconds(300)
    /// How old a WebSocket may become.
    public var websocket: Duration = .seconds(3600)
    /// Of one WebSocket: streams with a name, responses at one time, requests that wait.
    public var websocketStreams = 32
    public var websocketResponses = 16
    public var websocketQueue = 64
    /// What everything in a sandbox may take together: memory in bytes, processes.
    public var memory = 4 << 30
    public var processes = 1024
    /// Of each process in a sandbox.
    public var openFiles = 8192
    /// A session's workspace, its harness's home and its temporary files together, in bytes.
    public var workspace = 8 << 30
    /// Of a file that goes into or out of a workspace by the session API, in bytes.
    public var file = 64 << 20
    /// Of a session's model calls, input and output; nil: no limit.
    public var sessionTokens: Int?
    /// Model calls of a session; nil: no limit.
    public var sessionRequests: Int?
    /// Model calls of a sandbox at one time.
    public var modelCalls = 32
    /// A model call's body, in bytes.
    public var modelBody = 64 << 20
    /// How long the model gateway stays where it has no sandbox and no server.
    public var gatewayLinger: Duration = .seconds(30)
    /// How long a stream may be silent before a keep-alive event is sent.
    public var keepAlive: Duration = .seconds(15)
  }

  public enum WarmPool: Sendable, Hashable {
    /// So many for each harness that `ingress` names.
    case each(Int)
    /// By harness.
    case named([String: Int])
  }

  /// Names by which clients reach the server, beside localhost and addresses; lower-case.
  public var hosts: [String] = []
  public var listen = Address("127.0.0.1:8787")!
  public var data = "./data"
  /// How sessions are kept apart.
  public enum SandboxBackendName: String, Sendable, Hashable, CaseIterable {
    case bubblewrap
    case process
  }

  public var sandbox = SandboxBackendName.bubblewrap
  /// Absolute paths that every sandbox may read beside the system's own (`/usr`, parts of `/etc`).
  public var sandboxPaths: [String] = []
  public var providers: [String: Provider] = [
    "openai": Provider(baseURL: "https://api.openai.com/v1", apiKeyEnvironment: "OPENAI_API_KEY"),
    "anthropic": Provider(
      baseURL: "https://api.anthropic.com", apiKeyEnvironment: "ANTHROPIC_API_KEY", dialect: .anthropic),
  ]
  public var harnesses: [String: Harness] = [
    "codex": Harness(provider: "openai", model: "gpt-5.5", models: ["gpt-5.5"]),
    "codex-exec": Harness(provider: "openai", model: "gpt-5.5", models: ["gpt-5.5"]),
    "claude": Harness(provider: "anthropic", model: "claude-opus-5-5", models: ["claude-opus-5-5"]),
  ]
  /// The harness of a new session, by the ingress it comes by.
  public var ingress: [String: String] = ["responses": "codex", "messages": "claude", "session_api": "codex"]
  public var personas: [String: Persona] = [:]
  /// What the workspaces of sessions begin with whose persona says nothing else.
  public var workspace = WorkspaceSource.empty
  /// How long an archived session's files are kept; nil: for ever.
  public var retention: Duration?
  /// Where sandboxes may connect beside their model; nil: nowhere.
  public var egress: EgressRules?
  public var limits = Limits()
  /// How many sandboxes wait for new sessions; nil: one for each harness that `ingress` names, as far as there is room.
  public var warmPool: WarmPool?
  /// Model calls go to the scripted model.
  public var usesStandInModel = false

  public init() {}
}

/// Why a configuration cannot be used; the text names the file and the line.
public struct ConfigurationError: Error, Sendable, Hashable, CustomStringConvertible {
  public let description: String
  public init(_ description: String) { self.description = description }
}

extension ServerConfiguration {
  /// How many sandboxes wait for new sessions, by harness. `codex-exec` is a process a turn: none waits.
  public var warmPoolSizes: [String: Int] {
    switch warmPool ?? .each(1) {
    case .named(let sizes): return sizes
    case .each(let size):
      let harnesses = Set(ingress.values).subtracting(["codex-exec"])
      return Dictionary(uniqueKeysWithValues: harnesses.map { ($0, size) })
    }
  }

  private func validateWarmPool() throws {
    if case .named(let sizes) = warmPool {
      for name in sizes.keys.sorted() {
        guard harnesses[name] != nil else {
          throw ConfigurationError("'warm_pool' names the harness '\(name)', which is not configured")
        }
        guard name != "codex-exec" || sizes[name] == 0 else {
          throw ConfigurationError("'warm_pool' cannot have 'codex-exec': it is a new process for each turn")
        }
      }
    }
    let size = warmPoolSizes.values.reduce(0, +)
    guard warmPool == nil || size <= limits.sandboxes else {
      throw ConfigurationError("'warm_pool' (\(size) in all) must be at most 'sandboxes' (\(limits.sandboxes))")
    }
  }

  /// Puts what a YAML text says over these settings.
  /// - Parameter name: of the file, for messages
  /// - Throws: `ConfigurationError`
  public mutating func read(yaml: String, name: String) throws {
    try ConfigurationFile.read(yaml, name: name, into: &self)
  }

  /// Checks what only the whole can tell.
  /// - Throws: `ConfigurationError`
  public func validate() throws {
    for (name, harness) in harnesses where providers[harness.provider] == nil {
      throw ConfigurationError("harness '\(name)' names the provider '\(harness.provider)', which is not configured")
    }
    for (name, harness) in ingress {
      guard ["responses", "messages", "session_api"].contains(name) else {
        throw ConfigurationError("'ingress' has no '\(name)'; there are responses, messages, session_api")
      }
      guard harnesses[harness] != nil else {
        throw ConfigurationError("'ingress' gives '\(name)' the harness '\(harness)', which is not configured")
      }
    }
    try validateWarmPool()
    try validateKeyFiles()
    // What the harness said stays in the spool until its state is saved behind it, every 8 MiB and not within a line: a
    // harness that waited for room in the middle of that would wait for ever.
    guard limits.spool >= 32 << 20, limits.spool / 2 >= limits.harnessLine else {
      throw ConfigurationError("'spool' must be at least 32MiB, and twice as much as 'harness_line'")
    }
    guard limits.turns >= limits.sandboxes else {
      throw ConfigurationError("'turns' (\(limits.turns)) must be at least 'sandboxes' (\(limits.sandboxes))")
    }
    for (name, persona) in personas {
      if let harness = persona.harness, harnesses[harness] == nil {
        throw ConfigurationError("persona '\(name)' names the harness '\(harness)', which is not configured")
      }
    }
  }

  /// Checks that not everybody who can reach the address is let in.
  /// - Parameter hasKeys: keys were made for the data directory
  /// - Throws: `ConfigurationError`
  public func validateListen(hasKeys: Bool) throws {
    guard !listen.isLoopback, !hasKeys else { return }
    throw ConfigurationError(
      """
      the address \(listen.host) is refused: without keys the server listens on loopback only (127.0.0.1, ::1). Make a \
      key first, by `centaur keys create` for the data directory \(data); from then on every request needs one.
      """)
  }
}
