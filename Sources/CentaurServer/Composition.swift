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

  /// Where model calls end: the configured providers, or the scripted model in the place of all of them.
  func providers(standIn: ListeningPort) -> [String: ModelProvider] {
    var providers: [String: ModelProvider] = [:]
    for (name, provider) in configuration.providers {
      let usesMessages = provider.dialect == .anthropic
      if configuration.usesStandInModel {
        providers[name] = ModelProvider(
          baseURL: { "http://127.0.0.1:\(await standIn.value)" }, baseIncludesVersion: false,
          credential: usesMessages ? .apiKey : .bearer, key: nil, timeout: provider.timeout)
      } else {
        let url = provider.baseURL
        providers[name] = ModelProvider(
          baseURL: { url }, baseIncludesVersion: !usesMessages || url.hasSuffix("/v1"),
          credential: usesMessages ? .apiKey : .bearer,
          key: provider.apiKeyEnvironment.flatMap { environment[$0] }.flatMap { $0.isEmpty ? nil : $0 },
          timeout: provider.timeout)
      }
    }
    return providers
  }

  /// What a person must know of keys that are not there; nothing where the scripted model answers.
  var missingKeys: [String] {
    guard !configuration.usesStandInModel else { return [] }
    let used = Set(configuration.harnesses.values.map(\.provider))
    return used.sorted().compactMap { name in
      guard let variable = configuration.providers[name]?.apiKeyEnvironment, environment[variable]?.isEmpty ?? true
      else { return nil }
      return "provider \(name): \(variable) is not set — its models will refuse"
    }
  }

  func controlPlane(
    data: String, node: String, gateway: ModelGateway, gatewayPort: ListeningPort
  ) -> ControlPlaneConfiguration {
    var harnesses: [HarnessName: ControlPlaneConfiguration.HarnessSetup] = [:]
    for (name, harness) in configuration.harnesses {
      guard let (adapter, program) = Self.adapter(name) else { continue }
      harnesses[HarnessName(rawValue: name)] = ControlPlaneConfiguration.HarnessSetup(
        adapter: adapter,
        executable: HarnessExecutable.path(program, configured: harness.binary, environment: environment),
        model: harness.model, models: harness.models)
    }
    let providers = configuration.harnesses.mapValues(\.provider)
    let limits = configuration.limits
    return ControlPlaneConfiguration(
      dataDirectory: data, node: node, harnesses: harnesses,
      defaultHarness: configuration.ingress.mapValues(HarnessName.init(rawValue:)),
      personas: configuration.personas.mapValues { persona in
        ControlPlaneConfiguration.Persona(
          harness: persona.harness.map(HarnessName.init(rawValue:)), instructions: persona.instructions,
          workspace: persona.workspace)
      },
      workspace: configuration.workspace, retention: configuration.retention,
      limits: ControlPlaneConfiguration.Limits(
        turn: limits.turn, idleSandbox: limits.idleSandbox, sandboxes: limits.sandboxes,
        sandboxWait: limits.sandboxWait, turns: limits.turns, harnessStart: limits.harnessStart,
        harnessLine: limits.harnessLine,
        sandbox: SandboxLimits(
          memory: limits.memory, processes: limits.processes, openFiles: limits.openFiles, disk: limits.workspace)),
      warmPool: Dictionary(
        uniqueKeysWithValues: configuration.warmPoolSizes.map { (HarnessName(rawValue: $0), $1) }),
      modelBaseURL: { session, harness in
        let path = gateway.path(session: session, provider: providers[harness.rawValue] ?? "")
        return "http://127.0.0.1:\(await gatewayPort.value)\(path)/v1"
      })
  }

  private static func adapter(_ name: String) -> (adapter: any HarnessAdapter, program: String)? {
    switch HarnessName(rawValue: name) {
    case .codex: (CodexAppServer(), "codex")
    case .codexExec: (CodexExec(), "codex")
    case .claude: (ClaudeCode(), "claude")
    default: nil
    }
  }

  /// The shim lies beside this program.
  /// - Throws: `ConfigurationError`
  static func shimPath() throws -> String {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    let length = readlink("/proc/self/exe", &buffer, buffer.count)
    guard length > 0 else { throw ConfigurationError("this program's own path cannot be read") }
    let program = String(decoding: buffer[..<length].map(UInt8.init(bitPattern:)), as: UTF8.self)
    let shim = (program.split(separator: "/").dropLast().map(String.init) + ["centaur-shim"]).joined(separator: "/")
    guard FileManager.default.isExecutableFile(atPath: "/\(shim)") else {
      throw ConfigurationError("centaur-shim must lie beside this program, at /\(shim)")
    }
    return "/\(shim)"
  }
}
