extension String {
  /// The text for one line of a log or a table: what would end the line, command a terminal or turn the order of what is
  /// shown is written as an escape (`\\u{1B}`), a newline as `\\n`.
  public var onOneLine: String {
    guard unicodeScalars.contains(where: \.isUnseen) else { return self }
    var shown = ""
    for scalar in unicodeScalars {
      if scalar == "\n" {
        shown += "\\n"
      } else if scalar.isUnseen {
        shown += "\\u{\(String(scalar.value, radix: 16, uppercase: true))}"
      } else {
        shown.unicodeScalars.append(scalar)
      }
    }
    return shown
  }
}

extension Unicode.Scalar {
  /// Control characters (C0, DEL, C1), line and paragraph separators, marks and overrides of direction.
  fileprivate var isUnseen: Bool {
    switch value {
    case 0..<0x20, 0x7F..<0xA0, 0x200E...0x200F, 0x2028...0x202E, 0x2066...0x2069, 0xFEFF: true
    default: false
    }
  }
}
