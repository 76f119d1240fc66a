import FoundationEssentials
import ModelGateway
import Sandbox
import Yams

/// Reads the YAML configuration file. Unknown keys are refused with their line: a typing error must not silently leave
/// a default in force.
struct ConfigurationFile {
  private let name: String

  /// Puts what the file says over `configuration`.
  /// - Throws: `ConfigurationError`
  static func read(_ text: String, name: String, into configuration: inout ServerConfiguration) throws {
    let node: Node?
    do {
      node = try Yams.compose(yaml: text)
    } catch YamlError.duplicatedKeysInMapping(let keys, let context) {
      throw ConfigurationFile(name: name).twice(keys.first ?? "", context.mark, in: text)
    } catch {
      throw ConfigurationError("\(name): not YAML: \(error)")
    }
    guard let node else { return }
    try ConfigurationFile(name: name).read(node, &configuration)
  }

  private func read(_ node: Node, _ configuration: inout ServerConfiguration) throws {
    try members(node, "the file") { key, value in
      switch key {
      case "listen":
        let text = try string(value, key)
        guard let address = ServerConfiguration.Address(text) else {
          throw error(value, "'listen' must be HOST:PORT, not '\(text)'")
        }
        configuration.listen = address
      case "hosts": configuration.hosts = try strings(value, key).map { $0.lowercased() }
      case "data": configuration.data = try string(value, key)
      case "store":
        guard try string(value, key) == "sqlite" else { throw error(value, "'store' can only be sqlite") }
      case "sandbox":
        let name = try string(value, key)
        guard let backend = ServerConfiguration.SandboxBackendName(rawValue: name) else {
          throw error(value, "'sandbox' is one of bubblewrap, process, not '\(name)'")
        }
        configuration.sandbox = backend
      case "sandbox_paths":
        configuration.sandboxPaths = try strings(value, key)
        guard configuration.sandboxPaths.allSatisfy({ $0.hasPrefix("/") && $0 != "/" }) else {
          throw error(value, "'sandbox_paths' must be absolute paths")
        }
      case "warm_pool":
        configuration.warmPool = try warmPool(value, key)
      case "providers": try named(value, key) { configuration.providers[$0] = try provider($1, $0, configuration) }
      case "harnesses": try named(value, key) { configuration.harnesses[$0] = try harness($1, $0, configuration) }
      case "ingress": try named(value, key) { configuration.ingress[$0] = try string($1, $0) }
      case "personas": try named(value, key) { configuration.personas[$0] = try persona($1, $0) }
      case "workspace": configuration.workspace = try workspace(value)
      case "retention": configuration.retention = try duration(value, key)
      case "egress": configuration.egress = try egress(value)
      case "limits": try limits(value, &configuration.limits)
      default: return false
      }
      return true
    }
  }

  private func warmPool(_ node: Node, _ key: String) throws -> ServerConfiguration.WarmPool {
    guard node.mapping != nil else { return .each(try poolSize(node, key)) }
    var sizes: [String: Int] = [:]
    try named(node, key) { sizes[$0] = try poolSize($1, $0) }
    return .named(sizes)
  }

  private func poolSize(_ node: Node, _ key: String) throws -> Int {
    let size = try integer(node, key)
    // More than any machine has; it also keeps sums from running over.
    guard (0...1000).contains(size) else { throw error(node, "'\(key)' must be from 0 to 1000") }
    return size
  }

  private func provider(
    _ node: Node, _ name: String, _ configuration: ServerConfiguration
  ) throws -> ServerConfiguration.Provider {
    var provider =
      configuration.providers[name] ?? ServerConfiguration.Provider(baseURL: "", apiKeyEnvironment: nil)
    var hasVariable = false
    try members(node, name) { key, value in
      switch key {
      case "base_url":
        let url = try string(value, key)
        guard url.hasPrefix("http://") || url.hasPrefix("https://") else {
          throw error(value, "'base_url' must begin with http:// or https://")
        }
        provider.baseURL = url.hasSuffix("/") ? String(url.dropLast()) : url
      case "api_key_env":
        provider.apiKeyEnvironment = try string(value, key)
        hasVariable = true
      case "api_key_file":
        let path = try string(value, key)
        provider.apiKeyFile = path.hasPrefix("/") ? path : "\(FileManager.default.currentDirectoryPath)/\(path)"
      case "headers":
        try named(value, key) { header, value in
          guard header.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == "_") }),
            !header.isEmpty
          else { throw error(value, "'\(header)' cannot be a header's name") }
          let text = try string(value, header)
          guard text.utf8.allSatisfy({ (0x20...0x7E).contains($0) }) else {
            throw error(value, "'\(header)' must be visible ASCII")
          }
          provider.headers[header.lowercased()] = text
        }
      case "timeout": provider.timeout = try duration(value, key)
      case "dialect":
        guard let dialect = ServerConfiguration.Provider.Dialect(rawValue: try string(value, key)) else {
          throw error(value, "'dialect' is one of openai, anthropic")
        }
        provider.dialect = dialect
      default: return false
      }
      return true
    }
    if provider.apiKeyFile != nil {
      guard !hasVariable else { throw error(node, "provider '\(name)' has both 'api_key_env' and 'api_key_file'") }
      provider.apiKeyEnvironment = nil
    }
    guard !provider.baseURL.isEmpty else { throw error(node, "provider '\(name)' needs a 'base_url'") }
    return provider
  }

  private func harness(
    _ node: Node, _ name: String, _ configuration: ServerConfiguration
  ) throws -> ServerConfiguration.Harness {
    guard var harness = configuration.harnesses[name] else {
      let known = configuration.harnesses.keys.sorted().joined(separator: ", ")
      throw error(node, "there is no harness '\(name)'; there are: \(known)")
    }
    var models: [String]?
    try members(node, name) { key, value in
      switch key {
      case "provider": harness.provider = try string(value, key)
      case "model": harness.model = try string(value, key)
      case "models": models = try strings(value, key)
      case "binary": harness.binary = try string(value, key)
      default: return false
      }
      return true
    }
    harness.models = models ?? [harness.model]
    if !harness.models.contains(harness.model) { harness.models.insert(harness.model, at: 0) }
    return harness
  }

  private func persona(_ node: Node, _ name: String) throws -> ServerConfiguration.Persona {
    var persona = ServerConfiguration.Persona()
    try members(node, name) { key, value in
      switch key {
      case "harness": persona.harness = try string(value, key)
      case "instructions": persona.instructions = try string(value, key)
      case "workspace": persona.workspace = try workspace(value)
      case "egress": persona.egress = try egress(value)
      default: return false
      }
      return true
    }
    return persona
  }

  private func egress(_ node: Node) throws -> EgressRules {
    var rules = EgressRules(allow: [])
    try members(node, "egress") { key, value in
      switch key {
      case "allow":
        for text in try strings(value, key) {
          guard let entry = EgressRules.Entry(text) else {
            throw error(value, "'allow' takes names such as pypi.org, *.debian.org, host:8443; not '\(text)'")
          }
          rules.allow.append(entry)
        }
      case "allow_addresses":
        for text in try strings(value, key) {
          guard let network = EgressNetwork(text) else {
            throw error(value, "'allow_addresses' takes networks such as 10.99.0.0/24, not '\(text)'")
          }
          rules.addresses.append(network)
        }
      case "resolver":
        try named(value, key) { host, value in
          guard let name = EgressName(host), let address = EgressAddress(try string(value, host)) else {
            throw error(value, "'resolver' gives names their addresses (intranet.test: 10.99.0.5)")
          }
          rules.names[name] = [address]
        }
      case "connections": rules.connections = try positive(value, key)
      case "idle": rules.idle = try duration(value, key)
      default: return false
      }
      return true
    }
    return rules
  }

  /// A directory to be copied, or a mapping that names one, or a repository to be cloned.
  private func workspace(_ node: Node) throws -> WorkspaceSource {
    guard node.mapping != nil else { return .template(try directory(node, "workspace")) }
    var template: String?
    var repository: String?
    var ref: String?
    try members(node, "workspace") { key, value in
      switch key {
      case "template": template = try directory(value, key)
      case "git": repository = try directory(value, key)
      case "ref":
        let text = try string(value, key)
        guard WorkspaceSource.isRef(text) else { throw error(value, "'\(text)' cannot be a Git ref") }
        ref = text
      default: return false
      }
      return true
    }
    switch (template, repository) {
    case (let template?, nil) where ref == nil: return .template(template)
    case (nil, let repository?): return .git(directory: repository, ref: ref)
    default: throw error(node, "'workspace' is a directory, { template: DIR } or { git: DIR, ref: REF }")
    }
  }

  /// A directory of this machine, made absolute.
  private func directory(_ node: Node, _ key: String) throws -> String {
    let path = try string(node, key)
    guard !WorkspaceSource.isRemote(path) else {
      throw error(node, "'\(key)' must be a directory of this machine, not '\(path)'")
    }
    return path.hasPrefix("/") ? path : "\(FileManager.default.currentDirectoryPath)/\(path)"
  }

  private func limits(_ node: Node, _ limits: inout ServerConfiguration.Limits) throws {
    try members(node, "limits") { key, value in
      switch key {
      case "body": limits.body = try bytes(value, key)
      case "turn": limits.turn = try duration(value, key)
      case "tool_wait": limits.toolWait = try duration(value, key)
      case "tool_hold": limits.toolHold = try duration(value, key)
      case "tools": limits.tools = try positive(value, key)
      case "idle_sandbox": limits.idleSandbox = try duration(value, key)
      case "sandboxes": limits.sandboxes = try positive(value, key)
      case "sandbox_wait": limits.sandboxWait = try duration(value, key)
      case "turns": limits.turns = try positive(value, key)
      case "harness_start": limits.harnessStart = try duration(value, key)
      case "lease": limits.lease = try duration(value, key)
      case "harness_line": limits.harnessLine = try bytes(value, key)
      case "spool": limits.spool = try bytes(value, key)
      case "turn_output": limits.turnOutput = try bytes(value, key)
      case "key_requests": limits.keyRequests = try positive(value, key)
      case "key_turns": limits.keyTurns = try positive(value, key)
      case "connections": limits.connections = try positive(value, key)
      case "idle_connection": limits.idleConnection = try duration(value, key)
      case "write_stall": limits.writeStall = try duration(value, key)
      case "websocket": limits.websocket = try duration(value, key)
      case "websocket_streams": limits.websocketStreams = try positive(value, key)
      case "websocket_responses": limits.websocketResponses = try positive(value, key)
      case "websocket_queue": limits.websocketQueue = try positive(value, key)
      case "memory": limits.memory = try bytes(value, key)
      case "processes": limits.processes = try positive(value, key)
      case "open_files": limits.openFiles = try positive(value, key)
      case "workspace": limits.workspace = try bytes(value, key)
      case "file": limits.file = try bytes(value, key)
      case "session_tokens": limits.sessionTokens = try positive(value, key)
      case "session_requests": limits.sessionRequests = try positive(value, key)
      case "model_calls": limits.modelCalls = try positive(value, key)
      case "model_body": limits.modelBody = try bytes(value, key)
      case "gateway_linger": limits.gatewayLinger = try duration(value, key)
      case "keep_alive": limits.keepAlive = try duration(value, key)
      default: return false
      }
      return true
    }
  }

  // MARK: Nodes

  /// Goes through a mapping; `take` says whether it knows the key.
  private func members(_ node: Node, _ place: String, _ take: (String, Node) throws -> Bool) throws {
    guard let mapping = node.mapping else { throw error(node, "\(place) must be a mapping") }
    for (key, value) in mapping {
      guard let name = key.string else { throw error(key, "a key must be a string") }
      guard try take(name, value) else { throw error(key, "unknown key '\(name)' in \(place)") }
    }
  }

  private func named(_ node: Node, _ place: String, _ take: (String, Node) throws -> Void) throws {
    try members(node, place) { key, value in
      try take(key, value)
      return true
    }
  }

  private func string(_ node: Node, _ key: String) throws -> String {
    // A key without a value is a null, or an empty string: neither is meant.
    guard let text = node.scalar?.string, !text.isEmpty, node.null == nil else {
      throw error(node, "'\(key)' must be a string")
    }
    return text
  }

  private func strings(_ node: Node, _ key: String) throws -> [String] {
    guard let sequence = node.sequence else { throw error(node, "'\(key)' must be a list") }
    return try sequence.map { try string($0, key) }
  }

  private func integer(_ node: Node, _ key: String) throws -> Int {
    guard let value = node.int else { throw error(node, "'\(key)' must be a whole number") }
    return value
  }

  private func positive(_ node: Node, _ key: String) throws -> Int {
    let value = try integer(node, key)
    guard value > 0 else { throw error(node, "'\(key)' must be at least 1") }
    return value
  }

  private func duration(_ node: Node, _ key: String) throws -> Duration {
    guard let value = try Duration(configured: string(node, key)) else {
      throw error(node, "'\(key)' must be a time such as 500ms, 30s, 30m, 2h or 30d")
    }
    return value
  }

  private func bytes(_ node: Node, _ key: String) throws -> Int {
    guard let value = try Int(configuredBytes: string(node, key)) else {
      throw error(node, "'\(key)' must be a size such as 4096, 64KiB, 64MiB or 1GiB")
    }
    return value
  }

  /// A key that a mapping has twice. The parser tells where the first one is; the other begins in the same column, unless
  /// the mapping is written in braces.
  private func twice(_ key: String, _ first: Mark, in text: String) -> ConfigurationError {
    let lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
    let second = lines.indices.dropFirst(first.line).first { index in
      let line = lines[index]
      guard line.prefix(first.column - 1).allSatisfy({ $0 == " " }) else { return false }
      let rest = line.dropFirst(first.column - 1)
      return [key, "\"\(key)\"", "'\(key)'"].contains { written in
        rest.hasPrefix(written) && rest.dropFirst(written.count).drop { $0 == " " }.first == ":"
      }
    }
    guard let second else { return ConfigurationError("\(name):\(first.line): '\(key)' is there twice") }
    return ConfigurationError(
      "\(name):\(second + 1): '\(key)' is there already, in line \(first.line)")
  }

  private func error(_ node: Node, _ text: String) -> ConfigurationError {
    ConfigurationError(node.mark.map { "\(name):\($0.line): \(text)" } ?? "\(name): \(text)")
  }
}

extension Duration {
  /// Reads `500ms`, `30s`, `30m`, `2h`, `30d`; must be more than nothing, and no more than a hundred years: the clocks' own
  /// arithmetic ends somewhere beyond.
  init?(configured text: String) {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    guard let value = Int64(digits), value > 0 else { return nil }
    let milliseconds: Int64
    switch text.dropFirst(digits.count) {
    case "ms": milliseconds = 1
    case "s": milliseconds = 1000
    case "m": milliseconds = 60_000
    case "h": milliseconds = 3_600_000
    case "d": milliseconds = 24 * 3_600_000
    default: return nil
    }
    let (total, overflows) = value.multipliedReportingOverflow(by: milliseconds)
    guard !overflows, total <= 876_000 * 3_600_000 else { return nil }
    self = .milliseconds(total)
  }
}

extension Int {
  /// Reads `4096`, `64KiB`, `64MiB`, `1GiB`; must be more than nothing.
  init?(configuredBytes text: String) {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    guard let value = Int(digits), value > 0 else { return nil }
    let shift: Int
    switch text.dropFirst(digits.count) {
    case "": shift = 0
    case "KiB": shift = 10
    case "MiB": shift = 20
    case "GiB": shift = 30
    default: return nil
    }
    let (bytes, overflows) = value.multipliedReportingOverflow(by: 1 << shift)
    guard !overflows else { return nil }
    self = bytes
  }
}
