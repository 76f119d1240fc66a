import SessionModel

/// Any bytes as JSON.
enum JSONTarget {
  static func check(_ input: [UInt8]) throws {
    guard let value = try? JSONValue(parsing: input) else { return }
    let written = value.serialized
    let again = try? JSONValue(parsing: written)
    try require(again == value, "what was read is written as something else")
    try require(again?.serialized == written, "the same value is written in two ways")
    try require(!Lines.breaks(written), "what is written would end a line")
  }
}

/// What ends a line or commands a terminal, for some reader or other: C0 and C1, of which CR, LF and NEL, and Unicode's LS
/// and PS. Python's `splitlines` makes use of them.
enum Lines {
  static func breaks(_ bytes: some Collection<UInt8>) -> Bool {
    String(decoding: bytes, as: UTF8.self).unicodeScalars.contains { scalar in
      switch scalar.value {
      case 0..<0x20, 0x80..<0xA0, 0x2028, 0x2029: true
      default: false
      }
    }
  }
}
