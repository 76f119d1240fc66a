/// The durable home of keys. A change holds for every server on the store from the next question on.
///
/// All methods throw `CentaurError` with `storeUnavailable` when the database refuses.
public protocol KeyStore: Sendable {
  /// What a secret opens.
  /// - Parameter digest: of the secret that a client showed; nil: it showed none
  func standing(of digest: KeyDigest?) async throws -> KeyStanding
  /// Keeps a new key; it is on the disk when this returns.
  func add(_ key: AccessKey, digest: KeyDigest) async throws
  /// All keys, the oldest first, revoked ones among them.
  func keys() async throws -> [AccessKey]
  /// The revoked ones.
  func revokedKeys() async throws -> Set<AccessKey.ID>
  /// Ends a key for good; it is on the disk when this returns. One that is revoked stays as it is.
  /// - Returns: the key as it is now; nil where there is none of that id
  func revoke(_ id: AccessKey.ID, at time: Timestamp) async throws -> AccessKey?
  /// Writes down when keys were used last.
  func noteUse(_ uses: [AccessKey.ID: Timestamp]) async throws
}

/// What a secret opens.
public enum KeyStanding: Sendable, Hashable {
  /// No key was ever made here: nobody is asked for one.
  case noKeys
  /// There are keys, and this is none of them, or one no more.
  case refused
  case valid(AccessKey)
}
