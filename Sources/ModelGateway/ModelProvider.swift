public import SessionModel

/// A service that answers model calls, as the gateway is told of it.
public struct ModelProvider: Sendable, Hashable {
  /// How the provider wants its credential.
  public enum Credential: String, Sendable, Hashable {
    /// `Authorization: Bearer …`
    case bearer
    /// `x-api-key: …`
    case apiKey = "api_key"
  }

  /// Where the key comes from.
  public enum Key: Sendable, Hashable {
    case value(String)
    /// The file's first line; read again when the file is another.
    case file(String)
  }

  /// Where its API is, without a trailing slash; it may have a path.
  public var baseURL: String
  /// Its API's first path component is part of `baseURL` (`https://api.openai.com/v1`).
  public var baseIncludesVersion: Bool
  public var credential: Credential
  /// It never leaves the gateway but towards the provider.
  public var key: Key?
  /// Sent with each call, in the place of what the harness sent under the same names.
  public var headers: [String: String]
  /// How long it may be silent.
  public var timeout: Duration

  public init(
    baseURL: String, baseIncludesVersion: Bool, credential: Credential, key: Key? = nil,
    headers: [String: String] = [:], timeout: Duration = .seconds(600)
  ) {
    self.baseURL = baseURL
    self.baseIncludesVersion = baseIncludesVersion
    self.credential = credential
    self.key = key
    self.headers = headers
    self.timeout = timeout
  }
}

/// What a server tells its gateway, whole each time: nothing of earlier settings stays.
public struct GatewaySettings: Sendable, Hashable {
  public var providers: [String: ModelProvider]
  /// The scripted model answers in the place of every provider.
  public var usesStandInModel: Bool
  /// How long the gateway stays where it has no sandbox and no server.
  public var linger: Duration

  public init(providers: [String: ModelProvider], usesStandInModel: Bool = false, linger: Duration = .seconds(30)) {
    self.providers = providers
    self.usesStandInModel = usesStandInModel
    self.linger = linger
  }
}

// MARK: As JSON, on the control socket

extension ModelProvider {
  public var json: JSONValue {
    var object: JSONValue = [
      "base_url": .string(baseURL), "base_includes_version": .bool(baseIncludesVersion),
      "credential": .string(credential.rawValue), "timeout_ms": .int(timeout.milliseconds),
      "headers": .object(JSONObject(headers.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) })),
    ]
    switch key {
    case .value(let text): object.set("key", .string(text))
    case .file(let path): object.set("key_file", .string(path))
    case nil: break
    }
    return object
  }

  public init?(json: JSONValue) {
    guard let url = json["base_url"]?.string, let includes = json["base_includes_version"]?.bool,
      let credential = json["credential"]?.string.flatMap(Credential.init(rawValue:)),
      let timeout = json["timeout_ms"]?.int
    else { return nil }
    var headers: [String: String] = [:]
    for member in json["headers"]?.object?.members ?? JSONObject().members {
      headers[member.key] = member.value.string
    }
    self.init(
      baseURL: url, baseIncludesVersion: includes, credential: credential,
      key: json["key"]?.string.map(Key.value) ?? json["key_file"]?.string.map(Key.file), headers: headers,
      timeout: .milliseconds(timeout))
  }
}

extension GatewaySettings {
  public var json: JSONValue {
    [
      "providers": .object(JSONObject(providers.sorted { $0.key < $1.key }.map { ($0.key, $0.value.json) })),
      "stand_in_model": .bool(usesStandInModel), "linger_ms": .int(linger.milliseconds),
    ]
  }

  public init?(json: JSONValue) {
    guard let members = json["providers"]?.object?.members, let linger = json["linger_ms"]?.int else { return nil }
    var providers: [String: ModelProvider] = [:]
    for member in members {
      guard let provider = ModelProvider(json: member.value) else { return nil }
      providers[member.key] = provider
    }
    self.init(
      providers: providers, usesStandInModel: json["stand_in_model"]?.bool ?? false, linger: .milliseconds(linger))
  }
}

extension JSONValue {
  mutating func set(_ key: String, _ value: JSONValue) {
    guard case .object(var object) = self else { return }
    object[key] = value
    self = .object(object)
  }
}
