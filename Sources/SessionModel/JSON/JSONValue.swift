/// A JSON value, the one type in which every room of the house holds JSON that it does not model.
///
/// Objects keep the order in which their members were written, so that a value that is read and written again
/// gives the same bytes: folds over the event log are compared byte for byte.
public enum JSONValue: Sendable, Hashable {
  case null
  case bool(Bool)
  /// A number written without fraction or exponent that fits 64 bits.
  case int(Int64)
  case double(Double)
  case string(String)
  case array([JSONValue])
  case object(JSONObject)
}

/// The members of a JSON object in the order in which they were written.
///
/// Look-ups are linear: wire objects have few members, and building a hash table for each would cost more than it
/// saves. Where a key is written twice the last one counts, as in ECMA-404's usual reading.
public struct JSONObject: Sendable, Hashable {
  public typealias Member = (key: String, value: JSONValue)

  private var keys: [String]
  private var values: [JSONValue]

  public init() {
    keys = []
    values = []
  }

  public init(_ members: some Sequence<Member>) {
    self.init()
    for member in members { append(member.key, member.value) }
  }

  public var count: Int { keys.count }
  public var isEmpty: Bool { keys.isEmpty }

  /// The members, first written first.
  public var members: some Sequence<Member> { zip(keys, values).lazy.map { (key: $0, value: $1) } }

  /// The value of a key; setting `nil` removes it, setting a value replaces it in place or appends it.
  public subscript(key: String) -> JSONValue? {
    get { keys.lastIndex(of: key).map { values[$0] } }
    set {
      guard let newValue else { return remove(key) }
      if let index = keys.lastIndex(of: key) { values[index] = newValue } else { append(key, newValue) }
    }
  }

  /// All members of the key: else an earlier one would come to light.
  private mutating func remove(_ key: String) {
    for index in keys.indices.reversed() where keys[index] == key {
      keys.remove(at: index)
      values.remove(at: index)
    }
  }

  /// Adds a member without looking for an earlier one of the same key: for the parser, and for builders that know.
  public mutating func append(_ key: String, _ value: JSONValue) {
    keys.append(key)
    values.append(value)
  }
}

extension JSONValue {
  public subscript(key: String) -> JSONValue? {
    if case .object(let object) = self { object[key] } else { nil }
  }

  public subscript(index: Int) -> JSONValue? {
    if case .array(let array) = self, array.indices.contains(index) { array[index] } else { nil }
  }

  public var string: String? { if case .string(let value) = self { value } else { nil } }
  public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
  public var array: [JSONValue]? { if case .array(let value) = self { value } else { nil } }
  public var object: JSONObject? { if case .object(let value) = self { value } else { nil } }
  public var isNull: Bool { if case .null = self { true } else { false } }

  /// The value as an integer; a double counts where it is whole (`1.0`).
  public var int: Int? {
    switch self {
    case .int(let value): Int(value)
    case .double(let value): Int(exactly: value)
    default: nil
    }
  }

  public var double: Double? {
    switch self {
    case .int(let value): Double(value)
    case .double(let value): value
    default: nil
    }
  }

  /// What the value is, in the words of an error message: `a string`, `an object`, …
  public var kindDescription: String {
    switch self {
    case .null: "null"
    case .bool: "a boolean"
    case .int, .double: "a number"
    case .string: "a string"
    case .array: "an array"
    case .object: "an object"
    }
  }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral,
  ExpressibleByFloatLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral, ExpressibleByNilLiteral
{
  public init(stringLiteral value: String) { self = .string(value) }
  public init(integerLiteral value: Int64) { self = .int(value) }
  public init(booleanLiteral value: Bool) { self = .bool(value) }
  public init(floatLiteral value: Double) { self = .double(value) }
  public init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
  public init(dictionaryLiteral elements: (String, JSONValue)...) {
    self = .object(JSONObject(elements.lazy.map { (key: $0.0, value: $0.1) }))
  }
  public init(nilLiteral: ()) { self = .null }
}

extension JSONValue {
  public init(_ value: Int) { self = .int(Int64(value)) }

  /// The string, or null where there is none.
  public init(_ value: String?) { self = value.map(JSONValue.string) ?? .null }
}

extension JSONValue? {
  /// Nil also for a null. Spelled out: in a closure `nil` would be the null itself.
  public var unlessNull: JSONValue? {
    guard let value = self, !value.isNull else { return Optional.none }
    return value
  }
}
