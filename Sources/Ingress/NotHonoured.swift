/// What a program's request asks for and no harness can be asked for: the session's log says so, once a request.
///
/// What one harness can and another cannot is the harness's own to say.
public struct NotHonoured: Sendable, Hashable {
  /// The fields, in the order in which they were noted.
  public private(set) var fields: [String] = []

  public init() {}

  /// - Parameter isAsked: whether the request has another wish there than what happens
  public mutating func note(_ field: String, if isAsked: Bool = true) {
    if isAsked, !fields.contains(field) { fields.append(field) }
  }

  /// Nil where all of it is honoured.
  public var sentence: String? {
    fields.isEmpty
      ? nil : "Not honoured: \(fields.joined(separator: ", ")). The agent's harness decides these for itself."
  }
}
