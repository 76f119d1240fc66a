/// What opens the server to a client, and whose the client is. The secret itself is nowhere: only its digest is kept.
public struct AccessKey: Sendable, Hashable {
  /// How a key is spoken of: in lists, and to revoke it. No secret.
  public struct ID: Sendable, Hashable, CustomStringConvertible {
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public var description: String { rawValue }
  }

  public let id: ID
  /// Whose sessions the key opens; several keys may have one owner.
  public let owner: Owner
  /// What it is for, in its maker's words.
  public let name: String?
  /// Requests a minute; nil: the server's own limit.
  public let requests: Int?
  /// Turns that may be open at once; nil: the server's own limit.
  public let turns: Int?
  public let createdAt: Timestamp
  public var revokedAt: Timestamp?
  /// Some moment of the last minute in which it was used.
  public var lastUsedAt: Timestamp?

  public init(
    id: ID, owner: Owner, name: String? = nil, requests: Int? = nil, turns: Int? = nil, createdAt: Timestamp,
    revokedAt: Timestamp? = nil, lastUsedAt: Timestamp? = nil
  ) {
    self.id = id
    self.owner = owner
    self.name = name
    self.requests = requests
    self.turns = turns
    self.createdAt = createdAt
    self.revokedAt = revokedAt
    self.lastUsedAt = lastUsedAt
  }
}

/// The SHA-256 of a key's secret.
///
/// A fast hash without salt is right here, and would not be for a password: a secret is 192 random bits, so there is
/// nothing to guess, no table to make, and no two keys are alike. It is looked up as it is, in an index; what the time of
/// that tells is about digests, which nobody can choose.
public struct KeyDigest: Sendable, Hashable {
  /// 32 of them.
  public let bytes: [UInt8]
  public init(bytes: [UInt8]) { self.bytes = bytes }
}
