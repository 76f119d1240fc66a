import ControlPlane
import FoundationEssentials
import Glibc
import Harness
import ModelGateway
import Sandbox
import SessionModel

/// The configuration, in the words of the rooms that it is for.
struct Composition {
  let configuration: ServerConfiguration
  let environment: [String: String]

  /// What the gateway is told: the configured providers and their keys.
  var gatewaySettings: GatewaySettings {
    GatewaySettings(
      providers: configuration.providers.mapValues { provider in
        let usesMessages = provider.dialect == .anthropic
        let key =
          provider.apiKeyFile.map(ModelProvider.Key.file)
          ?? provider.apiKeyEnvironment.flatMap { environment[$0] }.map(ModelProvider.Key.value)
        return ModelProvider(
          baseURL: provider.baseURL, baseIncludesVersion: !usesMessages || provider.baseURL.hasSuffix("/v1"),
          credential: usesMessages ? .apiKey : .bearer, key: key, headers: provider.headers, timeout: provider.timeout)
      },
      usesStandInModel: configuration.usesStandInModel, linger: configuration.limits.gatewayLinger)
  }

  /// What a session's sandbox may ask of the gateway.
  func grant(_ session: SessionID, _ harness: HarnessName, persona: String?) -> GatewayGrant {
    let setup = configuration.harnesses[harness.rawValue]
    let limits = configuration.limits
    return GatewayGrant(
      session: session, provider: setup?.provider ?? "", models: setup?.models ?? [],
      limits: GatewayLimits(
        sessionTokens: limits.sessionTokens, sessionRequests: limits.sessionRequests, calls: limits.modelCalls,
        body: limits.modelBody),
      egress: persona.flatMap { configuration.personas[$0]?.egress } ?? configuration.egress)
  }

  /// What a person must know of keys that are not there; nothing where the scripted model answers.
  var missingKeys: [String] {
    guard !configuration.usesStandInModel else { return [] }
    let used = Set(configuration.harnesses.values.map(\.provider))
    return used.sorted().compactMap { name in
      let provider = configuration.providers[name]
      if let file = provider?.apiKeyFile {
        return FileManager.default.isReadableFile(atPath: file)
          ? nil : "provider \(name): \(file) cannot be read — its models will refuse"
      }
      guard let variable = provider?.apiKeyEnvironment, environment[variable]?.isEmpty ?? true else { return nil }
      return "provider \(name): \(variable) is not set — its models will refuse"
    }
  }

  func controlPlane(
    data: String, node: String, gateway: any SandboxGateway
  ) -> ControlPlaneConfiguration {
    var harnesses: [HarnessName: ControlPlaneConfiguration.HarnessSetup] = [:]
    for (name, harness) in configuration.harnesses {
      guard let (adapter, program) = Self.adapter(name) else { continue }
      harnesses[HarnessName(rawValue: name)] = ControlPlaneConfiguration.HarnessSetup(
        adapter: adapter,
        executable: HarnessExecutable.path(program, configured: harness.binary, environment: environment),
        model: harness.model, models: harness.models)
    }
    let limits = configuration.limits
    return ControlPlaneConfiguration(
      dataDirectory: data, node: node, isDead: { [nodes = ServerNodes(data: data)] in nodes.isDead($0) },
      harnesses: harnesses,
      defaultHarness: configuration.ingress.mapValues(HarnessName.init(rawValue:)),
      personas: configuration.personas.mapValues { persona in
        ControlPlaneConfiguration.Persona(
          harness: persona.harness.map(HarnessName.init(rawValue:)), instructions: persona.instructions,
          workspace: persona.workspace, hasEgressOfItsOwn: persona.egress != nil)
      },
      workspace: configuration.workspace, retention: configuration.retention,
      limits: ControlPlaneConfiguration.Limits(
        turn: limits.turn, toolWait: limits.toolWait, toolHold: limits.toolHold, tools: limits.tools,
        toolBytes: limits.toolBytes,
        kept: limits.kept,
        idleSandbox: limits.idleSandbox,
        sandboxes: limits.sandboxes,
        sandboxWait: limits.sandboxWait, turns: limits.turns, harnessStart: limits.harnessStart,
        harnessLine: limits.harnessLine, spool: limits.spool, turnOutput: limits.turnOutput, lease: limits.lease,
        sandbox: SandboxLimits(
          memory: limits.memory, processes: limits.processes, openFiles: limits.openFiles, disk: limits.workspace)),
      warmPool: Dictionary(
        uniqueKeysWithValues: configuration.warmPoolSizes.map { (HarnessName(rawValue: $0), $1) }),
      gateway: gateway)
  }

  /// The program that a harness of this name runs; nil where there is none of that name.
  static func program(of harness: String) -> String? { adapter(harness)?.program }

  private static func adapter(_ name: String) -> (adapter: any HarnessAdapter, program: String)? {
    switch HarnessName(rawValue: name) {
    case .codex: (CodexAppServer(), "codex")
    case .codexExec: (CodexExec(), "codex")
    case .claude: (ClaudeCode(), "claude")
    default: nil
    }
  }

  /// This program's own file.
  /// - Throws: `ConfigurationError`
  static func programPath() throws -> String {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    let length = readlink("/proc/self/exe", &buffer, buffer.count)
    guard length > 0 else { throw ConfigurationError("this program's own path cannot be read") }
    let path = String(decoding: buffer[..<length].map(UInt8.init(bitPattern:)), as: UTF8.self)
    // One that was replaced while it ran: the new one is meant.
    return path.hasSuffix(" (deleted)") ? String(path.dropLast(" (deleted)".count)) : path
  }

  /// The shim lies beside this program.
  /// - Throws: `ConfigurationError`
  static func shimPath() throws -> String {
    let program = try programPath()
    let shim = (program.split(separator: "/").dropLast().map(String.init) + ["centaur-shim"]).joined(separator: "/")
    guard FileManager.default.isExecutableFile(atPath: "/\(shim)") else {
      throw ConfigurationError("centaur-shim must lie beside this program, at /\(shim)")
    }
    return "/\(shim)"
  }
}
