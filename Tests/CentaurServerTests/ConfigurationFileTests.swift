import FoundationEssentials
import Sandbox
import Testing

@testable import CentaurServer

/// What the configuration file says is what the server does; what it cannot mean stops the start, with its line.
struct ConfigurationFileTests {
  private static func read(_ yaml: String) throws -> ServerConfiguration {
    var configuration = ServerConfiguration()
    try configuration.read(yaml: yaml, name: "f.yaml")
    return configuration
  }

  @Test("without a file the server is one on its own machine")
  func defaults() throws {
    let configuration = ServerConfiguration()
    #expect(configuration.listen.description == "127.0.0.1:8787")
    #expect(configuration.data == "./data")
    #expect(configuration.limits.body == 64 << 20)
    #expect(configuration.limits.turn == .seconds(2 * 3600))
    #expect(configuration.limits.idleSandbox == .seconds(30 * 60))
    #expect(configuration.limits.sandboxes == 16)
    #expect(configuration.limits.turns == 64)
    #expect(configuration.limits.harnessStart == .seconds(60))
    #expect(configuration.limits.lease == .seconds(30))
    #expect(configuration.limits.harnessLine == 64 << 20)
    #expect(configuration.limits.keepAlive == .seconds(15))
    #expect(configuration.limits.keyRequests == 600)
    #expect(configuration.limits.keyTurns == 16)
    #expect(configuration.providers["openai"]?.apiKeyEnvironment == "OPENAI_API_KEY")
    #expect(configuration.providers["openai"]?.dialect == .openAI)
    #expect(configuration.providers["anthropic"]?.baseURL == "https://api.anthropic.com")
    #expect(configuration.providers["anthropic"]?.dialect == .anthropic)
    #expect(configuration.hosts.isEmpty)
    #expect(configuration.harnesses["codex"]?.provider == "openai")
    #expect(!configuration.usesStandInModel)
    try configuration.validate()
  }

  @Test("an empty file changes nothing", arguments: ["", "# nothing but a remark\n", "{}"])
  func empty(_ yaml: String) throws {
    #expect(try Self.read(yaml) == ServerConfiguration())
  }

  @Test("every key is read")
  func everyKey() throws {
    let configuration = try Self.read(
      """
      listen: "[::1]:9000"
      hosts: [Box.example, box]
      data: /var/lib/centaur
      store: sqlite
      sandbox: process
      sandbox_paths: [/opt/toolchain]
      warm_pool: { codex: 2, claude: 0 }
      providers:
        openai: { base_url: http://127.0.0.1:1/v1/, api_key_env: MY_KEY, timeout: 90s }
        mine: { base_url: https://models.example, dialect: anthropic }
      harnesses:
        codex: { provider: mine, model: big, models: [small, big], binary: tools/codex }
        codex-exec: { model: only }
      ingress: { responses: codex-exec, session_api: codex }
      personas:
        reviewer: { harness: codex, instructions: "Be strict.", workspace: /srv/review }
        guest: {}
      limits:
        body: 1MiB
        turn: 90m
        idle_sandbox: 250ms
        sandboxes: 3
        sandbox_wait: 20s
        tool_wait: 5m
        tool_hold: 7s
        tools: 7
        turns: 5
        harness_start: 7s
        lease: 9s
        harness_line: 4096
        spool: 32MiB
        turn_output: 1MiB
        key_requests: 30
        key_turns: 2
        connections: 100
        idle_connection: 1m
        write_stall: 30s
        websocket: 10m
        websocket_streams: 4
        websocket_responses: 3
        websocket_queue: 7
        keep_alive: 1s
        workspace: 1GiB
        file: 2MiB
        memory: 512MiB
        processes: 99
        open_files: 100
      workspace: { git: /srv/repository, ref: release/1.x }
      retention: 30d
      """)
    var expected = ServerConfiguration()
    expected.listen = try #require(ServerConfiguration.Address("[::1]:9000"))
    expected.hosts = ["box.example", "box"]
    expected.data = "/var/lib/centaur"
    expected.sandbox = .process
    expected.sandboxPaths = ["/opt/toolchain"]
    expected.providers["openai"] = .init(baseURL: "http://127.0.0.1:1/v1", apiKeyEnvironment: "MY_KEY")
    expected.providers["openai"]?.timeout = .seconds(90)
    expected.providers["mine"] = .init(
      baseURL: "https://models.example", apiKeyEnvironment: nil, dialect: .anthropic)
    expected.harnesses["codex"] = .init(
      provider: "mine", model: "big", models: ["small", "big"], binary: "tools/codex")
    expected.harnesses["codex-exec"] = .init(provider: "openai", model: "only", models: ["only"])
    expected.ingress["responses"] = "codex-exec"
    expected.ingress["session_api"] = "codex"
    expected.personas["reviewer"] = .init(
      harness: "codex", instructions: "Be strict.", workspace: .template("/srv/review"))
    expected.personas["guest"] = .init()
    expected.warmPool = .named(["codex": 2, "claude": 0])
    expected.limits.body = 1 << 20
    expected.limits.turn = .seconds(5400)
    expected.limits.idleSandbox = .milliseconds(250)
    expected.limits.sandboxes = 3
    expected.limits.sandboxWait = .seconds(20)
    expected.limits.toolWait = .seconds(300)
    expected.limits.toolHold = .seconds(7)
    expected.limits.tools = 7
    expected.limits.turns = 5
    expected.limits.harnessStart = .seconds(7)
    expected.limits.lease = .seconds(9)
    expected.limits.harnessLine = 4096
    expected.limits.spool = 32 << 20
    expected.limits.turnOutput = 1 << 20
    expected.limits.keyRequests = 30
    expected.limits.keyTurns = 2
    expected.limits.connections = 100
    expected.limits.idleConnection = .seconds(60)
    expected.limits.writeStall = .seconds(30)
    expected.limits.websocket = .seconds(600)
    expected.limits.websocketStreams = 4
    expected.limits.websocketResponses = 3
    expected.limits.websocketQueue = 7
    expected.limits.keepAlive = .seconds(1)
    expected.limits.workspace = 1 << 30
    expected.limits.file = 2 << 20
    expected.limits.memory = 512 << 20
    expected.limits.processes = 99
    expected.limits.openFiles = 100
    expected.workspace = .git(directory: "/srv/repository", ref: "release/1.x")
    expected.retention = .seconds(30 * 86400)
    #expect(configuration == expected)
    try configuration.validate()
  }

  @Test(
    "a workspace is empty, a template's copy or a repository's clone",
    arguments: [
      ("{}", WorkspaceSource.empty), ("workspace: /srv/t", .template("/srv/t")),
      ("workspace: { template: /srv/t }", .template("/srv/t")),
      ("workspace: { git: /srv/g }", .git(directory: "/srv/g", ref: nil)),
      ("workspace: { git: /srv/a:b, ref: v1 }", .git(directory: "/srv/a:b", ref: "v1")),
      (
        "workspace: { git: repository }",
        .git(directory: "\(FileManager.default.currentDirectoryPath)/repository", ref: nil)
      ),
    ])
  func workspaces(_ yaml: String, _ source: WorkspaceSource) throws {
    #expect(try Self.read(yaml).workspace == source)
    let persona = try Self.read("personas:\n  p: { \(yaml == "{}" ? "" : yaml) }").personas["p"]
    #expect(persona?.workspace == (yaml == "{}" ? nil : source))
  }

  @Test("a harness's model is on the list of its models, whatever the list says")
  func modelOnList() throws {
    let configuration = try Self.read("harnesses: { codex: { model: big, models: [small] } }")
    #expect(configuration.harnesses["codex"]?.models == ["big", "small"])
  }

  @Test("a second reading goes over the first")
  func twice() throws {
    var configuration = try Self.read("limits: { turn: 1h, sandboxes: 2 }")
    try configuration.read(yaml: "limits: { turn: 2h }", name: "g.yaml")
    #expect(configuration.limits.turn == .seconds(7200))
    #expect(configuration.limits.sandboxes == 2)
  }

  /// What is wrong with a file, and where.
  static let mistakes: [(yaml: String, said: String)] = [
    ("nonsense: 1", "f.yaml:1: unknown key 'nonsense' in the file"),
    ("data: x\nLimits: {}", "f.yaml:2: unknown key 'Limits' in the file"),
    ("limits:\n  turn: 1h\n  turns_: 3", "f.yaml:3: unknown key 'turns_' in limits"),
    ("providers:\n  openai:\n    key: x", "f.yaml:3: unknown key 'key' in openai"),
    ("harnesses:\n  codex:\n    modle: x", "f.yaml:3: unknown key 'modle' in codex"),
    ("personas:\n  p:\n    model: x", "f.yaml:3: unknown key 'model' in p"),
    ("listen: 8787", "f.yaml:1: 'listen' must be HOST:PORT, not '8787'"),
    ("listen: [127.0.0.1:1]", "f.yaml:1: 'listen' must be a string"),
    ("data:", "f.yaml:1: 'data' must be a string"),
    ("data: \"\"", "f.yaml:1: 'data' must be a string"),
    ("data: ~", "f.yaml:1: 'data' must be a string"),
    ("store: postgresql://x", "f.yaml:1: 'store' can only be sqlite"),
    ("sandbox: container", "f.yaml:1: 'sandbox' is one of bubblewrap, process, not 'container'"),
    ("warm_pool: many", "f.yaml:1: 'warm_pool' must be a whole number"),
    ("warm_pool: -1", "f.yaml:1: 'warm_pool' must be from 0 to 1000"),
    ("warm_pool:\n  codex: 1001", "f.yaml:2: 'codex' must be from 0 to 1000"),
    ("limits: {sandbox_wait: 0s}", "f.yaml:1: 'sandbox_wait' must be a time"),
    ("hosts: box", "f.yaml:1: 'hosts' must be a list"),
    ("providers: {openai: {dialect: google}}", "f.yaml:1: 'dialect' is one of openai, anthropic"),
    ("providers: {x: {}}", "f.yaml:1: provider 'x' needs a 'base_url'"),
    ("providers:\n  x:\n    base_url: ftp://x", "f.yaml:3: 'base_url' must begin with http:// or https://"),
    ("providers: {x: {base_url: 'http://x', timeout: 0s}}", "'timeout' must be a time"),
    ("providers: 3", "f.yaml:1: providers must be a mapping"),
    ("harnesses: {codx: {}}", "f.yaml:1: there is no harness 'codx'; there are: claude, codex, codex-exec"),
    ("harnesses: {codex: {models: big}}", "f.yaml:1: 'models' must be a list"),
    ("harnesses: {codex: {model: }}", "f.yaml:1: 'model' must be a string"),
    ("limits:\n  turn: soon", "f.yaml:2: 'turn' must be a time such as 500ms, 30s, 30m, 2h or 30d"),
    ("limits: {body: 64MB}", "f.yaml:1: 'body' must be a size such as 4096, 64KiB, 64MiB or 1GiB"),
    ("limits: {sandboxes: 0}", "f.yaml:1: 'sandboxes' must be at least 1"),
    ("limits: {sandboxes: many}", "f.yaml:1: 'sandboxes' must be a whole number"),
    ("limits: {turns: -1}", "f.yaml:1: 'turns' must be at least 1"),
    ("limits: {lease: 0s}", "f.yaml:1: 'lease' must be a time"),
    ("limits: {harness_start: 0s}", "f.yaml:1: 'harness_start' must be a time"),
    ("workspace: {}", "f.yaml:1: 'workspace' is a directory, { template: DIR } or { git: DIR, ref: REF }"),
    ("workspace: {template: /a, git: /b}", "f.yaml:1: 'workspace' is a directory"),
    ("workspace: {template: /a, ref: main}", "f.yaml:1: 'workspace' is a directory"),
    ("workspace: {git: /b, branch: main}", "f.yaml:1: unknown key 'branch' in workspace"),
    ("workspace: {git: /b, ref: --upload-pack=x}", "f.yaml:1: '--upload-pack=x' cannot be a Git ref"),
    ("workspace: {git: 'https://host/x.git'}", "'git' must be a directory of this machine, not 'https://host/x.git'"),
    ("workspace: {git: 'git@host:x.git'}", "f.yaml:1: 'git' must be a directory of this machine"),
    ("personas: {p: {workspace: 'ext::sh -c x'}}", "f.yaml:1: 'workspace' must be a directory of this machine"),
    ("retention: 30", "f.yaml:1: 'retention' must be a time"),
    ("limits: {memory: 0}", "f.yaml:1: 'memory' must be a size"),
    ("limits: {processes: 0}", "f.yaml:1: 'processes' must be at least 1"),
    ("limits: {open_files: 0}", "f.yaml:1: 'open_files' must be at least 1"),
    ("sandbox_paths: [opt]", "f.yaml:1: 'sandbox_paths' must be absolute paths"),
    ("sandbox_paths: [/]", "f.yaml:1: 'sandbox_paths' must be absolute paths"),
    ("limits: {file: lots}", "f.yaml:1: 'file' must be a size"),
    ("- a list", "f.yaml:1: the file must be a mapping"),
    ("data: x\n  y: [", "f.yaml: not YAML"),
    ("limits: {turn: 1h}\nlimits: {turn: 2h}", "f.yaml:2: 'limits' is there already, in line 1"),
    ("limits: {turn: 1h, turn: 2h}", "f.yaml:1: 'turn' is there twice"),
    (
      "data: x\nlimits:\n  turn: 1h\n  # turn: 3h\n  body: 1MiB\n  \"turn\" : 2h\nlisten: 127.0.0.1:1",
      "f.yaml:6: 'turn' is there already, in line 3"
    ),
    ("harnesses:\n  codex:\n    model: a\n  claude:\n    model: b\n    model: c", "f.yaml:6: 'model' is there already"),
  ]

  @Test("a mistake is refused and its place is named", arguments: mistakes)
  func mistake(_ yaml: String, _ said: String) throws {
    let error = #expect(throws: ConfigurationError.self) { try Self.read(yaml) }
    #expect(
      error?.description.hasPrefix(said) == true || error?.description.contains(": \(said)") == true, "\(error as Any)")
  }

  @Test(
    "times are whole numbers with a unit",
    arguments: [
      ("1ms", Duration.milliseconds(1)), ("500ms", .milliseconds(500)), ("30s", .seconds(30)), ("30m", .seconds(1800)),
      ("2h", .seconds(7200)), ("876000h", .seconds(3_153_600_000)),
      ("30d", .seconds(30 * 86400)), ("36500d", .seconds(3_153_600_000)),
    ])
  func durations(_ text: String, _ duration: Duration) {
    #expect(Duration(configured: text) == duration)
  }

  @Test(
    "what is no time is refused, however large",
    arguments: [
      "", "0s", "-1s", "1", "s", "1.5s", " 1s", "1 s", "1S", "1w", "36501d", "+1s", "٣s", "1s1", "876001h",
      "9223372036854775807h", "9223372036854775807s", "9223372036854775807ms", "99999999999999999999s",
    ])
  func noDurations(_ text: String) {
    #expect(Duration(configured: text) == nil)
  }

  @Test(
    "sizes are whole numbers, of bytes or with a binary unit",
    arguments: [
      ("1", 1), ("4096", 4096), ("64KiB", 64 << 10), ("64MiB", 64 << 20), ("1GiB", 1 << 30),
      ("9223372036854775807", Int.max), ("8589934591GiB", 8_589_934_591 << 30),
    ])
  func sizes(_ text: String, _ bytes: Int) {
    #expect(Int(configuredBytes: text) == bytes)
  }

  @Test(
    "what is no size is refused, however large",
    arguments: [
      "", "0", "0KiB", "-1", "1.5MiB", "64MB", "64 MiB", "1TiB", "MiB", "٣", "9007199254740992KiB", "8589934592GiB",
      "9223372036854775808",
    ])
  func noSizes(_ text: String) {
    #expect(Int(configuredBytes: text) == nil)
  }
}
