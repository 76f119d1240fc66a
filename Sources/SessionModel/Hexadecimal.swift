extension Sequence<UInt8> {
  /// The bytes as lower-case hexadecimal digits, two each.
  package var hexadecimal: String {
    map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
  }
}
