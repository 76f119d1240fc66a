/// A service that answers model calls.
public struct ModelProvider: Sendable {
  /// How the provider wants its credential.
  public enum Credential: Sendable, Hashable {
    /// `Authorization: Bearer …`
    case bearer
    /// `x-api-key: …`
    case apiKey
  }

  /// Where its API is, without a trailing slash; asked at each call.
  public var baseURL: @Sendable () async -> String
  /// Its API's first path component is part of `baseURL` (`https://api.openai.com/v1`).
  public var baseIncludesVersion: Bool
  public var credential: Credential
  /// The key, where there is one. It never leaves this process but towards the provider.
  public var key: String?
  /// How long it may be silent.
  public var timeout: Duration

  public init(
    baseURL: @escaping @Sendable () async -> String, baseIncludesVersion: Bool, credential: Credential, key: String?,
    timeout: Duration
  ) {
    self.baseURL = baseURL
    self.baseIncludesVersion = baseIncludesVersion
    self.credential = credential
    self.key = key
    self.timeout = timeout
  }
}
