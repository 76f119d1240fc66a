import FoundationEssentials
import SQLiteStore
public import SessionModel

/// The keys of a data directory, for whoever runs its servers. A server that runs need not be told of changes.
public struct KeyRing: Sendable {
  private let store: any KeyStore
  private let ids: IdentifierSource
  private let clock: WallClock

  /// - Parameter data: the data directory; it is made where it is not there
  /// - Throws: `ConfigurationError`, `CentaurError` with `storeUnavailable`
  public init(data: String) throws {
    let clock = WallClock { Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1000)) }
    self.init(
      store: try SQLiteStore(path: DataDirectory.storePath(in: DataDirectory.make(data))),
      ids: IdentifierSource { UInt64(clock.now.milliseconds) }, clock: clock)
  }

  init(store: any KeyStore, ids: IdentifierSource, clock: WallClock) {
    self.store = store
    self.ids = ids
    self.clock = clock
  }

  /// A new key.
  public struct Made: Sendable {
    public let key: AccessKey
    /// What its client shows. It is kept nowhere.
    public let secret: String
    /// Until now nobody was asked for a key here.
    public let isFirst: Bool
  }

  /// - Parameters:
  ///   - owner: whose sessions it opens; nil: an owner of its own, named after it
  ///   - name: what it is for
  ///   - requests: a minute; nil: the server's limit
  ///   - turns: open at once; nil: the server's limit
  /// - Throws: `ConfigurationError` where a name or a limit cannot be, `CentaurError` with `storeUnavailable`
  public func create(owner: String?, name: String?, requests: Int?, turns: Int?) async throws -> Made {
    if let owner, !Self.isOwner(owner) {
      throw ConfigurationError(
        "an owner's name has 1 to 64 letters, digits and '.', '_', '-', '@' (a letter or a digit first), not '\(owner)'"
      )
    }
    if let name, name.isEmpty || name.utf8.count > 128 || name.unicodeScalars.contains(where: Self.isControl) {
      throw ConfigurationError("a key's name has 1 to 128 bytes and no control characters")
    }
    for (limit, what) in [(requests, "--requests"), (turns, "--turns")] {
      if let limit, !(1...1_000_000).contains(limit) {
        throw ConfigurationError("\(what) must be from 1 to 1000000, not \(limit)")
      }
    }
    let isFirst = try await store.standing(of: nil) == .noKeys
    let id = "key_\(ids.thread().suffix(12))"
    let secret = KeySecret()
    let key = AccessKey(
      id: AccessKey.ID(rawValue: id), owner: Owner(rawValue: owner ?? id), name: name, requests: requests,
      turns: turns, createdAt: clock.now)
    try await store.add(key, digest: secret.digest)
    return Made(key: key, secret: secret.text, isFirst: isFirst)
  }

  /// All of them, the oldest first.
  /// - Throws: `CentaurError` with `storeUnavailable`
  public func list() async throws -> [AccessKey] { try await store.keys() }

  /// - Returns: the key as it is now; nil where there is none of that id
  /// - Throws: `CentaurError` with `storeUnavailable`
  public func revoke(_ id: String) async throws -> AccessKey? {
    try await store.revoke(AccessKey.ID(rawValue: id), at: clock.now)
  }

  private static func isOwner(_ name: String) -> Bool {
    func isPlain(_ byte: UInt8) -> Bool {
      (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
    }
    guard let first = name.utf8.first, isPlain(first), name.utf8.count <= 64 else { return false }
    return name.utf8.allSatisfy { isPlain($0) || "._-@".utf8.contains($0) }
  }

  private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
    scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) || scalar.value == 0x2028 || scalar.value == 0x2029
  }
}
