public import HTTPTypes

/// The headers of a request, by lower-case name; in a test, a dictionary.
public struct RequestHeaders: Sendable {
  private let values: [String: String]

  public init(_ values: [String: String]) {
    self.values = Dictionary(values.map { ($0.key.lowercased(), $0.value) }) { first, _ in first }
  }

  public init(_ fields: HTTPFields) {
    self.init(Dictionary(fields.map { ($0.name.canonicalName, $0.value) }) { first, _ in first })
  }

  public func without(_ names: Set<String>) -> RequestHeaders {
    RequestHeaders(values.filter { !names.contains($0.key) })
  }

  public subscript(name: String) -> String? { values[name] }

  /// Lower-case.
  public var names: some Sequence<String> { values.keys }
}
