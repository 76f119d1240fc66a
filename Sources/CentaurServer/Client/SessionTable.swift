public import SessionModel

/// Sessions as a person reads them in a terminal.
public enum SessionTable {
  /// One line a session below a line of titles.
  public static func text(_ sessions: [JSONValue]) -> String {
    let rows =
      [["THREAD KEY", "HARNESS", "PERSONA", "NEWEST TURN", "CREATED", "WORKSPACE"]]
      + sessions.map { session in
        [
          session["thread_key"]?.string ?? "", session["harness"]?.string ?? "", session["persona"]?.string ?? "-",
          session["newest_execution"]?["status"]?.string ?? "-", seconds(session["created_at"]?.string ?? ""),
          size(session["workspace"]?["bytes"]),
        ].map(\.onOneLine)
      }
    return TextTable.text(rows)
  }

  /// One line a member.
  public static func details(_ session: JSONValue) -> String {
    let newest = session["newest_execution"]
    return [
      ("thread key", session["thread_key"]?.string), ("id", session["id"]?.string),
      ("status", session["status"]?.string), ("harness", session["harness"]?.string),
      ("persona", session["persona"]?.string), ("created", session["created_at"]?.string.map(seconds)),
      ("events", session["last_event_id"]?.int.map(String.init)),
      ("newest turn", newest?["status"]?.string), ("workspace", size(session["workspace"]?["bytes"])),
    ].map { name, value in
      "\(name):" + String(repeating: " ", count: 13 - name.count) + (value ?? "-").onOneLine
    }.joined(separator: "\n")
  }

  /// `2026-11-24T10:07:00.123Z` without what a person does not read.
  private static func seconds(_ time: String) -> String {
    guard let point = time.lastIndex(of: ".") else { return time }
    return time[..<point] + "Z"
  }

  /// `1.5 MiB`
  static func size(_ bytes: JSONValue?) -> String {
    // No disk is larger, and ten times as much is still a number.
    guard let bytes = bytes?.int, (0...(1 << 59)).contains(bytes) else { return "-" }
    guard bytes >= 1024 else { return "\(bytes) B" }
    var tenths = bytes * 10
    var unit = "B"
    for next in ["KiB", "MiB", "GiB", "TiB"] where tenths >= 10_240 { (tenths, unit) = ((tenths + 512) / 1024, next) }
    return "\(tenths / 10).\(tenths % 10) \(unit)"
  }
}
