import Ingress
import NIOCore
import SessionModel

/// Where one request is let in or not, by the key that it shows; and asked again for each message of a connection that
/// brings many.
struct KeyDoor: Sendable {
  private let keys: any KeyStore
  private let uses: KeyUses
  private let digest: KeyDigest?
  private let showsNothing: Bool

  init(_ shown: ShownKey, keys: any KeyStore, uses: KeyUses) {
    self.keys = keys
    self.uses = uses
    digest = if case .secret(let secret) = shown { secret.digest } else { nil }
    showsNothing = if case .none = shown { true } else { false }
  }

  /// Whose the request is. It is counted, where there are keys.
  /// - Throws: `CentaurError` with `keyMissing`, `keyRefused`, `keyRequestLimit`, `storeUnavailable`
  func enter(by channel: any Channel) async throws -> Caller {
    let isWelcome = { @Sendable () async throws in _ = try await key() }
    guard let key = try await key() else {
      uses.enterWithoutKey(by: channel)
      return Caller(owner: .local, allowance: nil, count: {}, isWelcome: isWelcome)
    }
    return try uses.enter(key, by: channel, isWelcome: isWelcome)
  }

  /// The key that was shown; nil where nobody is asked for one.
  private func key() async throws -> AccessKey? {
    let standing = try await keys.standing(of: digest)
    if case .noKeys = standing { return nil }
    uses.seeKeys()
    if case .valid(let key) = standing { return key }
    guard showsNothing else { throw CentaurError(.keyRefused, "This key is not known here, or was revoked.") }
    throw CentaurError(
      .keyMissing,
      "This server wants a key, as 'Authorization: Bearer …' or 'x-api-key: …'. Whoever runs it makes "
        + "one by 'centaur keys create'.")
  }
}
