import SessionModel
import Testing

/// No bytes may bring the server down, and none may be read as something that is written differently.
struct JSONFuzzTests {
  /// SplitMix64: the same bytes in every run, so that what fails once fails again.
  private struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
      state &+= 0x9E37_79B9_7F4A_7C15
      var z = state
      z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
      return z ^ (z >> 31)
    }
  }

  /// Reads, and where it is JSON, writes and reads again.
  private static func check(_ bytes: [UInt8]) {
    guard let value = try? JSONValue(parsing: bytes) else { return }
    let written = value.serialized
    let again = try? JSONValue(parsing: written)
    #expect(again == value, "\(bytes)")
    #expect(again?.serialized == written, "\(bytes)")
  }

  private static func value(depth: Int, _ random: inout SeededGenerator) -> JSONValue {
    switch Int.random(in: 0..<(depth > 0 ? 8 : 6), using: &random) {
    case 0: return .null
    case 1: return .bool(.random(using: &random))
    case 2: return .int(Int64(bitPattern: random.next()) >> Int64.random(in: 0..<64, using: &random))
    case 3:
      let double = Double(bitPattern: random.next())
      return double.isFinite ? .double(double) : .double(0.5)
    case 4, 5: return .string(string(&random))
    case 6: return .array((0..<Int.random(in: 0..<5, using: &random)).map { _ in value(depth: depth - 1, &random) })
    default:
      return .object(
        JSONObject(
          (0..<Int.random(in: 0..<5, using: &random)).map { _ in
            (key: string(&random), value: value(depth: depth - 1, &random))
          }))
    }
  }

  private static func string(_ random: inout SeededGenerator) -> String {
    let ranges: [ClosedRange<UInt32>] = [0...0x1F, 0x20...0x7F, 0x80...0x7FF, 0x800...0xD7FF, 0xE000...0x10FFFF]
    var text = String.UnicodeScalarView()
    for _ in 0..<Int.random(in: 0..<12, using: &random) {
      let range = ranges[Int.random(in: 0..<ranges.count, using: &random)]
      if let scalar = Unicode.Scalar(UInt32.random(in: range, using: &random)) { text.append(scalar) }
    }
    return String(text)
  }

  @Test("whatever can be built can be written and read back", arguments: 0..<8 as Range<UInt64>)
  func built(_ seed: UInt64) throws {
    var random = SeededGenerator(state: seed)
    for _ in 0..<250 {
      let value = Self.value(depth: 6, &random)
      let written = value.serialized
      #expect(try JSONValue(parsing: written) == value)
      #expect(try JSONValue(parsing: written).serialized == written)
    }
  }

  @Test("bytes without sense are refused or read, never a crash", arguments: 0..<8 as Range<UInt64>)
  func noise(_ seed: UInt64) {
    var random = SeededGenerator(state: 1000 + seed)
    let alphabet = Array(#"{}[]:,"\/ubfnrt0123456789aeE+-. "#.utf8) + [0, 0x1F, 0x80, 0xC3, 0xA9, 0xED, 0xFF]
    for _ in 0..<4000 {
      let count = Int.random(in: 0..<24, using: &random)
      Self.check((0..<count).map { _ in alphabet[Int.random(in: 0..<alphabet.count, using: &random)] })
    }
  }

  @Test(
    "documents that were damaged on their way are refused or read, never a crash", arguments: 0..<8 as Range<UInt64>)
  func damaged(_ seed: UInt64) {
    var random = SeededGenerator(state: 2000 + seed)
    for _ in 0..<400 {
      var bytes = Self.value(depth: 4, &random).serialized
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        let place = Int.random(in: 0...bytes.count, using: &random)
        switch Int.random(in: 0..<3, using: &random) {
        case 0: bytes.insert(UInt8.random(in: 0...255, using: &random), at: place)
        case 1: if place < bytes.count { bytes[place] = UInt8.random(in: 0...255, using: &random) }
        default: bytes.removeSubrange(place..<min(bytes.count, place + 3))
        }
      }
      Self.check(bytes)
    }
  }

  @Test("a document that is cut at any byte is refused, not half believed")
  func cut() throws {
    let text = #"{"a":[1.5e3,true,null,"é\n\ud83d\ude00",{"b":-12}],"c":"x"}"#
    let bytes = Array(text.utf8)
    _ = try JSONValue(parsing: bytes)
    for end in 0..<bytes.count { #expect((try? JSONValue(parsing: bytes[..<end])) == nil) }
  }
}
