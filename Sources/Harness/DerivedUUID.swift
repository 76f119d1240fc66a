/// UUIDs that follow from ids of ours, so that whoever needs one stays pure. Version 8 (RFC 9562, §5.8).
enum DerivedUUID {
  /// 32 hexadecimal digits keep their places; any other id is hashed.
  static func of(_ id: String) -> String {
    let digits = Array(id.utf8)
    guard digits.count == 32, digits.allSatisfy({ "0123456789abcdef".utf8.contains($0) }) else {
      return written(hash(id, basis: 0xcbf2_9ce4_8422_2325) + hash(id, basis: 0x9ae1_6a3b_2f90_404f))
    }
    return written(digits)
  }

  /// Another one, always the same for the same one.
  static func after(_ uuid: String) -> String { of("after \(uuid)") }

  private static func written(_ digits: [UInt8]) -> String {
    var digits = digits
    digits[12] = UInt8(ascii: "8")
    // The variant is the two highest bits of the digit: 10.
    digits[16] = "89ab".utf8.contains(digits[16]) ? digits[16] : UInt8(ascii: "8") + (digits[16] & 1)
    let text = String(decoding: digits, as: UTF8.self)
    var groups: [Substring] = []
    var rest = text[...]
    for length in [8, 4, 4, 4, 12] {
      groups.append(rest.prefix(length))
      rest = rest.dropFirst(length)
    }
    return groups.joined(separator: "-")
  }

  /// FNV-1a, as 16 hexadecimal digits.
  private static func hash(_ text: String, basis: UInt64) -> [UInt8] {
    var value = basis
    for byte in text.utf8 { value = (value ^ UInt64(byte)) &* 0x100_0000_01b3 }
    let digits = String(value, radix: 16)
    return Array((String(repeating: "0", count: 16 - digits.count) + digits).utf8)
  }
}
