import SessionModel

/// A compaction item of ours in a request's `input`: its opaque content is a name that only this server can read, for a
/// point of a conversation that it keeps. One that was changed, or is another owner's, is unknown.
enum CompactionItem {
  /// The newest one.
  static func index(in items: [JSONValue]) -> Int? { items.lastIndex { $0["type"]?.string == "compaction" } }

  /// - Throws: `CentaurError` with `missingField`
  static func name(_ item: JSONValue, path: String) throws(CentaurError) -> String {
    guard let name = item["encrypted_content"]?.string else {
      throw CentaurError(
        .missingField, "A compaction item needs 'encrypted_content'.", parameter: "\(path).encrypted_content")
    }
    return name
  }

  static func json(id: String, name: String) -> JSONValue {
    ["type": "compaction", "id": .string(id), "encrypted_content": .string(name)]
  }
}
