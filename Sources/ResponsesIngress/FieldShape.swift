import SessionModel

/// What a value of a request must be. A table of these is read against a body; nothing is built for what fits.
///
/// `null` counts as absent, as it does for OpenAI's own API.
indirect enum FieldShape: Sendable {
  case any
  case bool
  /// - longest: in characters (Unicode scalars), as the specification counts
  case string(longest: Int = .max)
  /// 1 to 64 letters, digits, `_` and `-`.
  case name
  case number(ClosedRange<Double>)
  case integer(ClosedRange<Int>)
  case oneOf([String])
  case list(of: FieldShape, longest: Int = .max)
  case object([FieldMember])
  /// A rule that is more than a type.
  case checked(@Sendable (JSONValue) throws(FieldFault) -> Void)

  func check(_ value: JSONValue) throws(FieldFault) {
    switch self {
    case .any: return
    case .bool: if value.bool == nil { throw .wrongType("a boolean", value) }
    case .string(let longest): try Self.check(try Self.text(value), longest: longest)
    case .name: try Self.check(name: try Self.text(value))
    case .number(let range):
      guard let number = value.double else { throw .wrongType("a number", value) }
      guard range.contains(number) else {
        throw FieldFault(
          .invalidValue, "must be from \(Self.plain(range.lowerBound)) to \(Self.plain(range.upperBound))")
      }
    case .integer(let range): try Self.check(value, within: range)
    case .oneOf(let choices):
      guard choices.contains(try Self.text(value)) else {
        throw FieldFault(.invalidValue, "is one of \(choices.joined(separator: ", "))")
      }
    case .list(let element, let longest):
      guard let elements = value.array else { throw .wrongType("an array", value) }
      guard elements.count <= longest else { throw FieldFault(.invalidValue, "may have at most \(longest) entries") }
      for (index, value) in elements.enumerated() {
        do { try element.check(value) } catch { throw error.inside("[\(index)]") }
      }
    case .object(let members):
      guard value.object != nil else { throw .wrongType("an object", value) }
      for member in members { try member.check(in: value) }
    case .checked(let rule): try rule(value)
    }
  }

  static func text(_ value: JSONValue) throws(FieldFault) -> String {
    guard let text = value.string else { throw .wrongType("a string", value) }
    return text
  }

  private static func check(_ text: String, longest: Int) throws(FieldFault) {
    // Bytes are counted already, and no text has more characters than bytes.
    guard text.utf8.count > longest, text.unicodeScalars.count > longest else { return }
    throw FieldFault(.invalidValue, "may have at most \(longest) characters")
  }

  private static func check(name: String) throws(FieldFault) {
    let isName = name.utf8.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
        true
      default: false
      }
    }
    guard isName, (1...64).contains(name.utf8.count) else {
      throw FieldFault(.invalidValue, "must be 1 to 64 letters, digits, '_' and '-'")
    }
  }

  private static func check(_ value: JSONValue, within range: ClosedRange<Int>) throws(FieldFault) {
    guard let number = value.int else { throw .wrongType("a whole number", value) }
    guard !range.contains(number) else { return }
    guard range.upperBound == .max else {
      throw FieldFault(.invalidValue, "must be from \(range.lowerBound) to \(range.upperBound)")
    }
    throw FieldFault(.invalidValue, "must be at least \(range.lowerBound)")
  }

  private static func plain(_ number: Double) -> String {
    Int(exactly: number).map(String.init) ?? String(number)
  }
}

/// A member of an object, by its name.
struct FieldMember: Sendable {
  let name: String
  let shape: FieldShape
  let isRequired: Bool

  init(_ name: String, _ shape: FieldShape, isRequired: Bool = false) {
    self.name = name
    self.shape = shape
    self.isRequired = isRequired
  }

  func check(in object: JSONValue) throws(FieldFault) {
    guard let value = object[name], !value.isNull else {
      guard isRequired else { return }
      throw FieldFault(.missingField, "is missing").inside(name)
    }
    do { try shape.check(value) } catch { throw error.inside(name) }
  }
}

/// A field that is not what it must be. Its path is put together on the way out, where there is a fault.
struct FieldFault: Error {
  let code: CentaurError.Code
  private(set) var path = ""
  /// What follows the field's name in the sentence.
  let predicate: String

  init(_ code: CentaurError.Code, _ predicate: String) {
    self.code = code
    self.predicate = predicate
  }

  static func wrongType(_ expected: String, _ value: JSONValue) -> FieldFault {
    FieldFault(.invalidType, "must be \(expected), not \(value.kindDescription)")
  }

  func inside(_ outer: String) -> FieldFault {
    var fault = self
    let separator = path.isEmpty || path.hasPrefix("[") ? "" : "."
    fault.path = outer + separator + path
    return fault
  }

  var error: CentaurError {
    guard !path.isEmpty else { return CentaurError(code, "The body \(predicate).") }
    return CentaurError(code, "'\(path)' \(predicate).", parameter: path)
  }
}
