import FoundationEssentials
import GRDB
public import SessionModel

/// Keys in the store's own file. They stay when they are revoked: a store that has known a key never opens again to those
/// without one.
extension SQLiteStore: KeyStore {
  private static let columns = "id, owner, name, requests, turns, created_at, revoked_at, used_at"

  /// Every request asks this: it runs where it is called, on a connection of its own, and takes some microseconds. On the
  /// readers' threads it would stand in line behind pages of events.
  public func standing(of digest: KeyDigest?) async throws -> KeyStanding { try standingNow(of: digest) }

  private func standingNow(of digest: KeyDigest?) throws -> KeyStanding {
    do {
      return try keyReader.unsafeRead { db in
        if let digest {
          let found = try Self.keys(db, "WHERE digest = ? AND revoked_at IS NULL", [Data(digest.bytes)])
          if let key = found.first { return .valid(key) }
        }
        let any = try Bool.fetchOne(db.cachedStatement(sql: "SELECT EXISTS (SELECT 1 FROM keys)"))
        return any == false ? .noKeys : .refused
      }
    } catch {
      throw CentaurError.storeRefused("The store cannot be read.")
    }
  }

  public func add(_ key: AccessKey, digest: KeyDigest) async throws {
    try await writeDurably { db in
      try db.execute(
        sql: """
          INSERT INTO keys (id, digest, owner, name, requests, turns, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)
          """,
        arguments: [
          key.id.rawValue, Data(digest.bytes), key.owner.rawValue, key.name, key.requests, key.turns,
          key.createdAt.milliseconds,
        ])
    }
  }

  public func keys() async throws -> [AccessKey] {
    try await read { db in try Self.keys(db, "ORDER BY rowid", []) }
  }

  public func revokedKeys() async throws -> Set<AccessKey.ID> {
    try await read { db in
      let ids = try String.fetchAll(db.cachedStatement(sql: "SELECT id FROM keys WHERE revoked_at IS NOT NULL"))
      return Set(ids.map(AccessKey.ID.init(rawValue:)))
    }
  }

  public func revoke(_ id: AccessKey.ID, at time: Timestamp) async throws -> AccessKey? {
    try await writeDurably { db in
      try db.execute(
        sql: "UPDATE keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL",
        arguments: [time.milliseconds, id.rawValue])
      return try Self.keys(db, "WHERE id = ?", [id.rawValue]).first
    }
  }

  public func noteUse(_ uses: [AccessKey.ID: Timestamp]) async throws {
    try await write { db in
      let update = try db.cachedStatement(sql: "UPDATE keys SET used_at = ? WHERE id = ?")
      for (id, time) in uses { try update.execute(arguments: [time.milliseconds, id.rawValue]) }
    }
  }

  /// The keys of a store's file, which is not changed: it may be an older version's.
  /// - Throws: `CentaurError` with `storeUnavailable`
  public static func keys(in path: String) async throws -> [AccessKey] {
    var configuration = Configuration()
    configuration.readonly = true
    configuration.busyMode = .timeout(5)
    do {
      return try await DatabaseQueue(path: path, configuration: configuration).read { db in
        try db.tableExists("keys") ? try keys(db, "ORDER BY rowid", []) : []
      }
    } catch {
      throw CentaurError(.storeUnavailable, "The store cannot be read: \(error).")
    }
  }

  private static func keys(_ db: Database, _ condition: String, _ arguments: StatementArguments) throws -> [AccessKey] {
    let statement = try db.cachedStatement(sql: "SELECT \(columns) FROM keys \(condition)")
    return try Row.fetchAll(statement, arguments: arguments).map { row in
      let revoked: Int64? = row[6]
      let used: Int64? = row[7]
      return AccessKey(
        id: AccessKey.ID(rawValue: row[0]), owner: Owner(rawValue: row[1]), name: row[2], requests: row[3],
        turns: row[4], createdAt: Timestamp(milliseconds: row[5]),
        revokedAt: revoked.map(Timestamp.init(milliseconds:)), lastUsedAt: used.map(Timestamp.init(milliseconds:)))
    }
  }
}
