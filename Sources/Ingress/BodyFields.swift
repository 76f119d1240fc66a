public import SessionModel

/// Checks types and ranges of a body's top-level fields; null counts as absent.
///
/// All methods throw `CentaurError` with `invalidType` or `invalidValue`, whose parameter is the field's name.
public struct BodyFields: Sendable {
  private let body: JSONValue

  public init(_ body: JSONValue) { self.body = body }

  private func value(_ name: String) -> JSONValue? {
    guard let value = body[name], !value.isNull else { return nil }
    return value
  }

  private func wrongType(_ name: String, _ expected: String, _ value: JSONValue) -> CentaurError {
    CentaurError(.invalidType, "'\(name)' must be \(expected), not \(value.kindDescription).", parameter: name)
  }

  public func string(_ name: String) throws(CentaurError) {
    if let value = value(name), value.string == nil { throw wrongType(name, "a string", value) }
  }

  public func bool(_ name: String) throws(CentaurError) {
    if let value = value(name), value.bool == nil { throw wrongType(name, "a boolean", value) }
  }

  public func object(_ name: String) throws(CentaurError) {
    if let value = value(name), value.object == nil { throw wrongType(name, "an object", value) }
  }

  public func array(_ name: String) throws(CentaurError) {
    if let value = value(name), value.array == nil { throw wrongType(name, "an array", value) }
  }

  public func number(_ name: String, in range: ClosedRange<Double>) throws(CentaurError) {
    guard let value = value(name) else { return }
    guard let number = value.double else { throw wrongType(name, "a number", value) }
    guard range.contains(number) else {
      throw CentaurError(
        .invalidValue, "'\(name)' must be from \(range.lowerBound) to \(range.upperBound).", parameter: name)
    }
  }

  public func integer(_ name: String, in range: ClosedRange<Int>) throws(CentaurError) {
    guard let value = value(name) else { return }
    guard let number = value.int else { throw wrongType(name, "a whole number", value) }
    guard range.contains(number) else {
      throw CentaurError(.invalidValue, "'\(name)' must be at least \(range.lowerBound).", parameter: name)
    }
  }

  public func oneOf(_ name: String, _ choices: [String]) throws(CentaurError) {
    guard let value = value(name) else { return }
    guard let text = value.string else { throw wrongType(name, "a string", value) }
    guard choices.contains(text) else {
      throw CentaurError(.invalidValue, "'\(name)' is one of \(choices.joined(separator: ", ")).", parameter: name)
    }
  }
}
