import FoundationEssentials
public import SessionModel

/// Keys as a person reads them in a terminal, and as a program does.
public enum KeyTable {
  /// One line a key below a line of titles.
  public static func text(_ keys: [AccessKey]) -> String {
    let rows =
      [["KEY", "OWNER", "NAME", "REQUESTS", "TURNS", "CREATED", "LAST USED", "REVOKED"]]
      + keys.map { key in
        [
          key.id.rawValue, key.owner.rawValue, key.name ?? "-", key.requests.map(String.init) ?? "-",
          key.turns.map(String.init) ?? "-", time(key.createdAt), key.lastUsedAt.map(time) ?? "-",
          key.revokedAt.map(time) ?? "-",
        ]
      }
    return TextTable.text(rows)
  }

  public static func json(_ keys: [AccessKey]) -> JSONValue {
    .array(
      keys.map { key in
        [
          "id": .string(key.id.rawValue), "owner": .string(key.owner.rawValue), "name": JSONValue(key.name),
          "requests": key.requests.map { JSONValue($0) } ?? .null, "turns": key.turns.map { JSONValue($0) } ?? .null,
          "created_at": .string(time(key.createdAt)), "last_used_at": JSONValue(key.lastUsedAt.map(time)),
          "revoked_at": JSONValue(key.revokedAt.map(time)),
        ]
      })
  }

  /// `2026-11-24T10:07:00Z`
  private static func time(_ moment: Timestamp) -> String {
    Date(timeIntervalSince1970: Double(moment.seconds)).formatted(Date.ISO8601FormatStyle())
  }
}
