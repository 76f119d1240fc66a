import SQLiteStore
import FoundationEssentials
import SessionModel
import Testing

@testable import CentaurServer

/// What `centaur keys` does to a data directory.
struct KeyRingTests {
  private static func withRing(_ body: (KeyRing, _ data: String) async throws -> Void) async throws {
    let data = "/tmp/centaur-keys-\(UInt32.random(in: 0 ... .max))"
    defer { try? FileManager.default.removeItem(atPath: data) }
    try await body(KeyRing(data: data), data)
  }

  @Test("the secret is in no file of the data directory, and the directory is its user's alone")
  func secret() async throws {
    try await Self.withRing { (ring, data) async throws in
      let made = try await ring.create(owner: nil, name: nil, requests: nil, turns: nil)
      let mode = try FileManager.default.attributesOfItem(atPath: data)[.posixPermissions] as? Int
      #expect(mode == 0o700)
      for name in try FileManager.default.contentsOfDirectory(atPath: data) {
        let content = try #require(FileManager.default.contents(atPath: "\(data)/\(name)"))
        #expect(content.firstRange(of: Data(made.secret.utf8)) == nil)
        #expect(content.firstRange(of: Data(made.secret.dropFirst(KeySecret.prefix.count).utf8)) == nil)
      }
      let store = try SQLiteStore(path: "\(data)/centaur.sqlite")
      let secret = try #require(KeySecret(made.secret))
      #expect(try await store.standing(of: secret.digest) == .valid(made.key))
    }
  }

  @Test("a key without an owner has one of its own; the first one says that it closes the door")
  func owners() async throws {
    try await Self.withRing { (ring, _) async throws in
      let first = try await ring.create(owner: nil, name: "laptop", requests: 10, turns: 2)
      #expect(first.isFirst)
      #expect(first.key.owner.rawValue == first.key.id.rawValue)
      let second = try await ring.create(owner: first.key.owner.rawValue, name: nil, requests: nil, turns: nil)
      #expect(!second.isFirst)
      #expect(second.key.owner == first.key.owner)
      #expect(second.key.id != first.key.id)
      #expect(try await ring.list() == [first.key, second.key])
    }
  }

  @Test(
    "a name that would break a table or a line is refused, and nothing is made",
    arguments: ["", " ", "a b", "-x", "ä", "a\nb", "a/b", String(repeating: "x", count: 65)])
  func owner(_ name: String) async throws {
    try await Self.withRing { (ring, _) async throws in
      await #expect(throws: ConfigurationError.self) {
        try await ring.create(owner: name, name: nil, requests: nil, turns: nil)
      }
      #expect(try await ring.list().isEmpty)
    }
  }

  @Test("names and limits that cannot be are refused")
  func limits() async throws {
    try await Self.withRing { (ring, _) async throws in
      for (name, requests, turns) in [("", 1, 1), ("a\nb", 1, 1), ("a", 0, 1), ("a", 1, -1), ("a", 1, 1_000_001)] {
        await #expect(throws: ConfigurationError.self) {
          try await ring.create(owner: nil, name: name, requests: requests, turns: turns)
        }
      }
      let widest = String(repeating: "x", count: 64)
      #expect(try await ring.create(owner: widest, name: "ä b", requests: 1, turns: 1_000_000).isFirst)
    }
  }

  @Test("the table shows whose a key is and what became of it")
  func table() {
    let key = AccessKey(
      id: AccessKey.ID(rawValue: "key_a"), owner: Owner(rawValue: "team"), name: "laptop", requests: 60, turns: nil,
      createdAt: Timestamp(milliseconds: 1_764_000_000_500), revokedAt: Timestamp(milliseconds: 1_764_000_100_000))
    #expect(
      KeyTable.text([key]) == """
        KEY    OWNER  NAME    REQUESTS  TURNS  CREATED               LAST USED  REVOKED
        key_a  team   laptop  60        -      2025-11-24T16:00:00Z  -          2025-11-24T16:01:40Z
        """)
    let json = KeyTable.json([key])
    #expect(json[0]?["requests"]?.int == 60)
    #expect(json[0]?["turns"] == .null)
    #expect(json[0]?["revoked_at"]?.string == "2025-11-24T16:01:40Z")
  }
}
