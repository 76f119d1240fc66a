/// Why some bytes are not JSON, and where.
public struct JSONParseError: Error, Hashable, CustomStringConvertible {
  public let reason: String
  /// The offset of the byte at which reading stopped, from 0.
  public let offset: Int

  public var description: String { "\(reason) at byte \(offset)" }
}

/// More values than the reader was ready to hold: a value takes many times the two bytes that it can be written with.
public struct JSONTooManyValues: Error, Hashable {
  public let limit: Int
}

extension JSONValue {
  /// How deep arrays and objects may nest. Bodies come from the network, and the parser recurses.
  public static let maximumDepth = 256

  /// Reads one JSON value (RFC 8259) that fills `bytes`.
  ///
  /// Our own parser and not `JSONDecoder`: every request body holds the client's whole history (10 MB and more), a
  /// `Codable` enum tries each case for each value, and member order must survive. A lone surrogate escape becomes
  /// U+FFFD, as JavaScript clients do send them.
  /// - Parameter maximumValues: how many values of any kind it may be made of.
  /// - Throws: `JSONParseError`, `JSONTooManyValues`
  public init(parsing bytes: some Sequence<UInt8>, maximumValues: Int = .max) throws {
    let value: JSONValue? = try bytes.withContiguousStorageIfAvailable { try JSONParser.parse($0, maximumValues) }
    if let value {
      self = value
    } else {
      self = try Array(bytes).withUnsafeBufferPointer { try JSONParser.parse($0, maximumValues) }
    }
  }

  /// - Throws: `JSONParseError`
  public init(parsing text: String) throws { try self.init(parsing: text.utf8) }
}

private struct JSONParser {
  private let bytes: UnsafeBufferPointer<UInt8>
  private var position = 0
  private var depth = 0
  private let maximumValues: Int
  private var values = 0

  static func parse(_ bytes: UnsafeBufferPointer<UInt8>, _ maximumValues: Int) throws -> JSONValue {
    var parser = JSONParser(bytes: bytes, maximumValues: maximumValues)
    let value = try parser.value()
    parser.skipSpace()
    guard parser.position == bytes.count else { throw parser.error("unexpected text after the value") }
    return value
  }

  private init(bytes: UnsafeBufferPointer<UInt8>, maximumValues: Int) {
    self.bytes = bytes
    self.maximumValues = maximumValues
  }

  private func error(_ reason: String) -> JSONParseError { JSONParseError(reason: reason, offset: position) }

  private mutating func skipSpace() {
    while position < bytes.count {
      switch bytes[position] {
      case 0x20, 0x0A, 0x0D, 0x09: position += 1
      default: return
      }
    }
  }

  private mutating func peek() throws -> UInt8 {
    guard position < bytes.count else { throw error("unexpected end") }
    return bytes[position]
  }

  private mutating func value() throws -> JSONValue {
    values += 1
    guard values <= maximumValues else { throw JSONTooManyValues(limit: maximumValues) }
    skipSpace()
    switch try peek() {
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "{"): return try nested { try $0.object() }
    case UInt8(ascii: "["): return try nested { try $0.array() }
    case UInt8(ascii: "t"): return try literal("true", .bool(true))
    case UInt8(ascii: "f"): return try literal("false", .bool(false))
    case UInt8(ascii: "n"): return try literal("null", .null)
    default: return try number()
    }
  }

  private mutating func nested(_ body: (inout JSONParser) throws -> JSONValue) throws -> JSONValue {
    depth += 1
    guard depth <= JSONValue.maximumDepth else { throw error("nested deeper than \(JSONValue.maximumDepth)") }
    position += 1
    let value = try body(&self)
    depth -= 1
    return value
  }

  private mutating func literal(_ text: StaticString, _ value: JSONValue) throws -> JSONValue {
    let end = position + text.utf8CodeUnitCount
    guard end <= bytes.count,
      UnsafeBufferPointer(rebasing: bytes[position..<end]).elementsEqual(
        UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    else { throw error("unexpected character") }
    position = end
    return value
  }

  private mutating func object() throws -> JSONValue {
    var object = JSONObject()
    skipSpace()
    if try peek() == UInt8(ascii: "}") {
      position += 1
      return .object(object)
    }
    while true {
      skipSpace()
      guard try peek() == UInt8(ascii: "\"") else { throw error("expected a key") }
      let key = try string()
      skipSpace()
      guard try peek() == UInt8(ascii: ":") else { throw error("expected ':'") }
      position += 1
      object.append(key, try value())
      skipSpace()
      switch try peek() {
      case UInt8(ascii: ","): position += 1
      case UInt8(ascii: "}"):
        position += 1
        return .object(object)
      default: throw error("expected ',' or '}'")
      }
    }
  }

  private mutating func array() throws -> JSONValue {
    var elements: [JSONValue] = []
    skipSpace()
    if try peek() == UInt8(ascii: "]") {
      position += 1
      return .array(elements)
    }
    while true {
      elements.append(try value())
      skipSpace()
      switch try peek() {
      case UInt8(ascii: ","): position += 1
      case UInt8(ascii: "]"):
        position += 1
        return .array(elements)
      default: throw error("expected ',' or ']'")
      }
    }
  }

  private mutating func number() throws -> JSONValue {
    let start = position
    if try peek() == UInt8(ascii: "-") { position += 1 }
    let integerStart = position
    try digits()
    if bytes[integerStart] == UInt8(ascii: "0"), position - integerStart > 1 { throw error("a number starts with 0") }
    var isInteger = true
    if position < bytes.count, bytes[position] == UInt8(ascii: ".") {
      isInteger = false
      position += 1
      try digits()
    }
    if position < bytes.count, bytes[position] | 0x20 == UInt8(ascii: "e") {
      isInteger = false
      position += 1
      if position < bytes.count, bytes[position] == UInt8(ascii: "+") || bytes[position] == UInt8(ascii: "-") {
        position += 1
      }
      try digits()
    }
    let text = String(decoding: bytes[start..<position], as: UTF8.self)
    if isInteger, let value = Int64(text) { return .int(value) }
    guard let value = Double(text), value.isFinite else { throw error("a number out of range") }
    return .double(value)
  }

  private mutating func digits() throws {
    let start = position
    while position < bytes.count, bytes[position] &- UInt8(ascii: "0") < 10 { position += 1 }
    guard position > start else { throw error(start == bytes.count ? "unexpected end" : "unexpected character") }
  }

  private mutating func string() throws -> String {
    position += 1
    let start = position
    skipPlainText()
    guard try endOfRun() == UInt8(ascii: "\"") else { return try escapedString(from: start) }
    let run = bytes[start..<position]
    position += 1
    return try text(UnsafeBufferPointer(rebasing: run))
  }

  /// The byte that ended a run of plain text: a quote or a backslash.
  private func endOfRun() throws -> UInt8 {
    guard position < bytes.count else { throw error("unexpected end in a string") }
    guard bytes[position] >= 0x20 else { throw error("a control character in a string") }
    return bytes[position]
  }

  /// Moves to the next quote, backslash or control character, eight bytes at a time: most of a body is plain text.
  private mutating func skipPlainText() {
    let words = UnsafeRawBufferPointer(bytes)
    while position + 8 <= words.count {
      let word = UInt64(littleEndian: words.loadUnaligned(fromByteOffset: position, as: UInt64.self))
      let ends =
        Self.bytes(of: word, below: 0x20) | Self.bytes(of: word ^ 0x2222_2222_2222_2222, below: 1)
        | Self.bytes(of: word ^ 0x5C5C_5C5C_5C5C_5C5C, below: 1)
      if ends != 0 {
        position += ends.trailingZeroBitCount / 8
        return
      }
      position += 8
    }
    while position < bytes.count {
      let byte = bytes[position]
      if byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { return }
      position += 1
    }
  }

  /// Marks with its high bit each byte that is below `limit` (at most 128). Exact up to the lowest mark; above it
  /// borrows may leave others.
  private static func bytes(of word: UInt64, below limit: UInt64) -> UInt64 {
    (word &- limit &* 0x0101_0101_0101_0101) & ~word & 0x8080_8080_8080_8080
  }

  private func text(_ run: UnsafeBufferPointer<UInt8>) throws -> String {
    guard let text = String(validating: run, as: UTF8.self) else { throw error("a string is not UTF-8") }
    return text
  }

  private mutating func escapedString(from start: Int) throws -> String {
    var decoded = Array(bytes[start..<position])
    while true {
      guard try endOfRun() == UInt8(ascii: "\\") else {
        position += 1
        return try decoded.withUnsafeBufferPointer { try text($0) }
      }
      position += 1
      try escape(into: &decoded)
      let run = position
      skipPlainText()
      decoded.append(contentsOf: UnsafeBufferPointer(rebasing: bytes[run..<position]))
    }
  }

  private mutating func escape(into decoded: inout [UInt8]) throws {
    let byte = try peek()
    position += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): decoded.append(byte)
    case UInt8(ascii: "n"): decoded.append(0x0A)
    case UInt8(ascii: "t"): decoded.append(0x09)
    case UInt8(ascii: "r"): decoded.append(0x0D)
    case UInt8(ascii: "b"): decoded.append(0x08)
    case UInt8(ascii: "f"): decoded.append(0x0C)
    case UInt8(ascii: "u"): decoded.append(contentsOf: String(try unicodeEscape()).utf8)
    default: throw error("an unknown escape")
    }
  }

  private mutating func unicodeEscape() throws -> Character {
    let unit = try hexUnit()
    if !(0xD800..<0xE000).contains(unit) { return Character(Unicode.Scalar(unit) ?? "\u{FFFD}") }
    guard unit < 0xDC00, position + 1 < bytes.count, bytes[position] == UInt8(ascii: "\\"),
      bytes[position + 1] == UInt8(ascii: "u")
    else { return "\u{FFFD}" }
    let mark = position
    position += 2
    let low = try hexUnit()
    guard (0xDC00..<0xE000).contains(low) else {
      position = mark
      return "\u{FFFD}"
    }
    return Character(Unicode.Scalar(0x10000 + (unit - 0xD800) << 10 + (low - 0xDC00)) ?? "\u{FFFD}")
  }

  private mutating func hexUnit() throws -> UInt32 {
    guard position + 4 <= bytes.count else { throw error("unexpected end in an escape") }
    var unit: UInt32 = 0
    for byte in bytes[position..<position + 4] {
      let digit: UInt8
      switch byte {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - UInt8(ascii: "0")
      case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte - UInt8(ascii: "a") + 10
      case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = byte - UInt8(ascii: "A") + 10
      default: throw error("a \\u escape without four hexadecimal digits")
      }
      unit = unit << 4 | UInt32(digit)
    }
    position += 4
    return unit
  }
}
