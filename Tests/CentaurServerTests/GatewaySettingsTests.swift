import ModelGateway
import SessionModel
import Testing

@testable import CentaurServer

/// What the configuration says of the way out is what the gateway is told.
struct GatewaySettingsTests {
  private static func read(_ yaml: String) throws -> ServerConfiguration {
    var configuration = ServerConfiguration()
    try configuration.read(yaml: yaml, name: "f.yaml")
    return configuration
  }

  @Test("a provider's key, file, headers and path reach the gateway")
  func providers() throws {
    let configuration = try Self.read(
      """
      providers:
        openai: { base_url: https://proxy.test/a/v1/, api_key_file: /keys/one, headers: { X-Team: tools } }
        anthropic: { base_url: https://proxy.test/b, api_key_env: MY_KEY, timeout: 5s }
      limits: { gateway_linger: 7s }
      """)
    let settings = Composition(configuration: configuration, environment: ["MY_KEY": "sk-1"]).gatewaySettings
    #expect(settings.linger == .seconds(7))
    #expect(
      settings.providers["openai"]
        == ModelProvider(
          baseURL: "https://proxy.test/a/v1", baseIncludesVersion: true, credential: .bearer, key: .file("/keys/one"),
          headers: ["x-team": "tools"]))
    #expect(
      settings.providers["anthropic"]
        == ModelProvider(
          baseURL: "https://proxy.test/b", baseIncludesVersion: false, credential: .apiKey, key: .value("sk-1"),
          timeout: .seconds(5)))
  }

  @Test("a session may ask for its harness's models, within the limits, and go where its persona says, else the server")
  func grants() throws {
    let configuration = try Self.read(
      """
      harnesses: { codex: { model: big, models: [big, small] } }
      egress: { allow: [pypi.org] }
      personas: { out: { egress: { allow: ["*.test:8443"], allow_addresses: [10.1.0.0/16], resolver: { a.test: 10.1.0.1 } } } }
      limits: { session_tokens: 10, session_requests: 2, model_calls: 3, model_body: 1MiB }
      """)
    let composition = Composition(configuration: configuration, environment: [:])
    let grant = composition.grant(SessionID(rawValue: "s"), .codex, persona: nil)
    #expect(grant.provider == "openai")
    #expect(grant.models == ["big", "small"])
    #expect(grant.limits == GatewayLimits(sessionTokens: 10, sessionRequests: 2, calls: 3, body: 1 << 20))
    #expect(grant.egress?.allow.map(\.text) == ["pypi.org"])
    let other = composition.grant(SessionID(rawValue: "s"), .codex, persona: "out").egress
    #expect(other?.allow.map(\.text) == ["*.test:8443"])
    #expect(other?.addresses.map(\.description) == ["10.1.0.0/16"])
    #expect(other?.names.count == 1)
    #expect(
      Composition(configuration: .init(), environment: [:]).grant(.init(rawValue: "s"), .codex, persona: nil).egress
        == nil)
  }

  @Test(
    "a mistake in what goes out stops the start",
    arguments: [
      ("egress: { allow: [10.0.0.1] }", "not '10.0.0.1'"), ("egress: { allow: [\"*\"] }", "not '*'"),
      ("egress: { allow_addresses: [10.0.0.0/33] }", "networks"),
      ("egress: { resolver: { a.test: b.test } }", "resolver"),
      ("egress: { deny: [a.test] }", "unknown key 'deny'"),
      ("providers: { openai: { base_url: https://x, api_key_env: A, api_key_file: B } }", "both"),
      ("providers: { openai: { base_url: https://x, headers: { \"a b\": c } } }", "header"),
      ("limits: { session_tokens: 0 }", "at least 1"),
    ])
  func mistakes(_ yaml: String, _ said: String) throws {
    let error = #expect(throws: ConfigurationError.self) { try Self.read(yaml) }
    #expect(error?.description.contains(said) == true, "\(String(describing: error))")
    #expect(error?.description.hasPrefix("f.yaml:1:") == true)
  }
}
