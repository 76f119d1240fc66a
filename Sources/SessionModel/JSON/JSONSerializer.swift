extension JSONValue {
  /// The value as compact JSON. The same value always gives the same bytes.
  ///
  /// It is one line to every reader and no command to a terminal: the control characters of C0 and C1 and Unicode's line
  /// separators are escaped, of which JSON wants only the first. Some clients split their streams at the others.
  public var serialized: [UInt8] {
    var bytes: [UInt8] = []
    serialize(into: &bytes)
    return bytes
  }

  /// The value as compact JSON text.
  public var text: String { String(decoding: serialized, as: UTF8.self) }

  /// Appends the value as compact JSON.
  public func serialize(into bytes: inout [UInt8]) {
    switch self {
    case .null: bytes.append(contentsOf: "null".utf8)
    case .bool(let value): bytes.append(contentsOf: (value ? "true" : "false").utf8)
    case .int(let value): bytes.append(contentsOf: String(value).utf8)
    case .double(let value): bytes.append(contentsOf: (value.isFinite ? "\(value)" : "null").utf8)
    case .string(let value): JSONValue.serialize(value, into: &bytes)
    case .array(let elements):
      bytes.append(UInt8(ascii: "["))
      var isFirst = true
      for element in elements {
        if !isFirst { bytes.append(UInt8(ascii: ",")) }
        isFirst = false
        element.serialize(into: &bytes)
      }
      bytes.append(UInt8(ascii: "]"))
    case .object(let object):
      bytes.append(UInt8(ascii: "{"))
      var isFirst = true
      for (key, value) in object.members {
        if !isFirst { bytes.append(UInt8(ascii: ",")) }
        isFirst = false
        JSONValue.serialize(key, into: &bytes)
        bytes.append(UInt8(ascii: ":"))
        value.serialize(into: &bytes)
      }
      bytes.append(UInt8(ascii: "}"))
    }
  }

  private static func serialize(_ string: String, into bytes: inout [UInt8]) {
    bytes.append(UInt8(ascii: "\""))
    var string = string
    string.withUTF8 { utf8 in
      var runStart = 0
      for index in utf8.indices {
        let byte = utf8[index]
        // Plain text, the greater part of all, and of what is not ASCII all but what may begin a control character.
        if byte >= 0x20, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"),
          byte != 0xC2, byte != 0xE2
        {
          continue
        }
        guard let length = escapedLength(utf8, at: index) else { continue }
        bytes.append(contentsOf: utf8[runStart..<index])
        runStart = index + length
        switch length {
        case 1: escape(byte, into: &bytes)
        case 2: escape(unit: UInt16(utf8[index + 1]), into: &bytes)
        default: escape(unit: 0x2000 | UInt16(utf8[index + 2] & 0x3F), into: &bytes)
        }
      }
      bytes.append(contentsOf: utf8[runStart...])
    }
    bytes.append(UInt8(ascii: "\""))
  }

  /// How many bytes the character has that begins here, where it is one to be escaped: one of ASCII; C1 (`C2 80` to
  /// `C2 9F`); U+2028 and U+2029 (`E2 80 A8`, `E2 80 A9`).
  private static func escapedLength(_ utf8: UnsafeBufferPointer<UInt8>, at index: Int) -> Int? {
    switch utf8[index] {
    case 0xC2: utf8[index + 1] < 0xA0 ? 2 : nil
    case 0xE2: utf8[index + 1] == 0x80 && utf8[index + 2] & 0xFE == 0xA8 ? 3 : nil
    default: 1
    }
  }

  private static func escape(_ byte: UInt8, into bytes: inout [UInt8]) {
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes.append(contentsOf: [UInt8(ascii: "\\"), byte])
    case 0x0A: bytes.append(contentsOf: "\\n".utf8)
    case 0x0D: bytes.append(contentsOf: "\\r".utf8)
    case 0x09: bytes.append(contentsOf: "\\t".utf8)
    case 0x08: bytes.append(contentsOf: "\\b".utf8)
    case 0x0C: bytes.append(contentsOf: "\\f".utf8)
    default: escape(unit: UInt16(byte), into: &bytes)
    }
  }

  private static let digits = Array("0123456789abcdef".utf8)

  private static func escape(unit: UInt16, into bytes: inout [UInt8]) {
    bytes.append(contentsOf: "\\u".utf8)
    for shift in [12, 8, 4, 0] { bytes.append(digits[Int(unit >> UInt16(shift) & 0xF)]) }
  }
}
