/// The headers of a request that this dialect reads, by lower-case name; in a test, a dictionary.
public struct RequestHeaders: Sendable {
  private let values: [String: String]

  public init(_ values: [String: String]) {
    self.values = Dictionary(values.map { ($0.key.lowercased(), $0.value) }) { first, _ in first }
  }

  public subscript(name: String) -> String? { values[name] }

  /// Headers that only Codex sends.
  var areCodex: Bool {
    values["session-id"] != nil || values["originator"]?.hasPrefix("codex") == true
      || values.keys.contains { $0.hasPrefix("x-codex-") }
  }
}
