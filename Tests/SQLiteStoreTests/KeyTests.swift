import SessionModel
import Testing

@testable import SQLiteStore

/// Who is let in: what a store says of a secret, and from when on.
struct KeyTests {
  private let file: StoreFile
  private let store: SQLiteStore

  init() throws {
    file = try StoreFile()
    store = try file.open()
  }

  private static func digest(_ byte: UInt8) -> KeyDigest { KeyDigest(bytes: Array(repeating: byte, count: 32)) }

  private static func key(_ id: String, owner: String = "team") -> AccessKey {
    AccessKey(
      id: AccessKey.ID(rawValue: id), owner: Owner(rawValue: owner), name: "laptop", requests: 5, turns: nil,
      createdAt: .noon)
  }

  @Test("a store without keys asks for none, whatever is shown")
  func none() async throws {
    #expect(try await store.standing(of: nil) == .noKeys)
    #expect(try await store.standing(of: Self.digest(1)) == .noKeys)
    #expect(try await store.keys().isEmpty)
  }

  @Test("a key opens what it is for, and nothing else does")
  func valid() async throws {
    try await store.add(Self.key("key_a"), digest: Self.digest(1))
    try await store.add(Self.key("key_b", owner: "other"), digest: Self.digest(2))
    #expect(try await store.standing(of: Self.digest(1)) == .valid(Self.key("key_a")))
    #expect(try await store.standing(of: Self.digest(2)) == .valid(Self.key("key_b", owner: "other")))
    #expect(try await store.standing(of: Self.digest(3)) == .refused)
    #expect(try await store.standing(of: nil) == .refused)
    #expect(try await store.keys().map(\.id.rawValue) == ["key_a", "key_b"])
  }

  @Test("a key that another process makes or revokes holds at once")
  func beside() async throws {
    let other = try file.open()
    try await other.add(Self.key("key_a"), digest: Self.digest(1))
    #expect(try await store.standing(of: Self.digest(1)) == .valid(Self.key("key_a")))
    _ = try await other.revoke(AccessKey.ID(rawValue: "key_a"), at: .noon + .seconds(1))
    #expect(try await store.standing(of: Self.digest(1)) == .refused)
    #expect(try await store.revokedKeys() == [AccessKey.ID(rawValue: "key_a")])
  }

  @Test("a store whose last key is revoked does not open again to those without one")
  func lastRevoked() async throws {
    try await store.add(Self.key("key_a"), digest: Self.digest(1))
    _ = try await store.revoke(AccessKey.ID(rawValue: "key_a"), at: .noon)
    #expect(try await store.standing(of: nil) == .refused)
    #expect(try await file.open().standing(of: nil) == .refused)
  }

  @Test("a key is revoked once: again changes nothing, and one that is not there is nobody's")
  func revokedTwice() async throws {
    try await store.add(Self.key("key_a"), digest: Self.digest(1))
    let id = AccessKey.ID(rawValue: "key_a")
    #expect(try await store.revoke(id, at: .noon)?.revokedAt == .noon)
    #expect(try await store.revoke(id, at: .far)?.revokedAt == .noon)
    #expect(try await store.revoke(AccessKey.ID(rawValue: "key_b"), at: .noon) == nil)
  }

  @Test("two keys never have one secret, nor one name")
  func unique() async throws {
    try await store.add(Self.key("key_a"), digest: Self.digest(1))
    #expect(await code { try await store.add(Self.key("key_b"), digest: Self.digest(1)) } == .storeUnavailable)
    #expect(await code { try await store.add(Self.key("key_a"), digest: Self.digest(2)) } == .storeUnavailable)
    #expect(try await store.keys().count == 1)
  }

  @Test("when a key was used is kept")
  func uses() async throws {
    try await store.add(Self.key("key_a"), digest: Self.digest(1))
    try await store.noteUse([AccessKey.ID(rawValue: "key_a"): .far, AccessKey.ID(rawValue: "key_gone"): .far])
    #expect(try await store.keys().map(\.lastUsedAt) == [.far])
  }

  @Test("the keys of a file are read without changing it, also where it is of a version that had none")
  func readOnly() async throws {
    try await store.add(Self.key("key_a"), digest: Self.digest(1))
    #expect(try await SQLiteStore.keys(in: file.path).map(\.id.rawValue) == ["key_a"])
    try file.withDatabase { db in try db.execute(sql: "DROP TABLE keys") }
    #expect(try await SQLiteStore.keys(in: file.path).isEmpty)
  }
}
