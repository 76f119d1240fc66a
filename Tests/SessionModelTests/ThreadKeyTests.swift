import SessionModel
import Testing

/// A key that is accepted is a session's name for good; one that is refused costs its user a clear sentence only.
struct ThreadKeyTests {
  private static func refusal(_ text: String) -> CentaurError.Code? {
    do {
      _ = try ThreadKey(text)
      return nil
    } catch {
      return error.code
    }
  }

  @Test(
    "a key of a source and an id is taken as it is",
    arguments: [
      "api:x", "api:codex:0199aaaa-bbbb", "a:b", "a::", "api:with space", "slack:C1/1690000000.1", "api:é😀", "api: ",
    ])
  func valid(_ text: String) throws {
    #expect(try ThreadKey(text).rawValue == text)
    #expect(try ThreadKey(text).description == text)
  }

  @Test("a key without a source or without an id is refused", arguments: ["", ":", "api", "api:", ":x", "::", "é"])
  func malformed(_ text: String) {
    #expect(Self.refusal(text) == .threadKeyMalformed)
  }

  @Test("the limit is 512 bytes, not characters: under and at it a key is taken, over it refused")
  func length() throws {
    func key(bytes: Int) -> String { "api:" + String(repeating: "x", count: bytes - 4) }
    #expect(try ThreadKey(key(bytes: 511)).rawValue.utf8.count == 511)
    #expect(try ThreadKey(key(bytes: 512)).rawValue.utf8.count == 512)
    #expect(Self.refusal(key(bytes: 513)) == .threadKeyTooLong)
    let wide = "api:" + String(repeating: "é", count: 254)
    #expect(try ThreadKey(wide).rawValue.utf8.count == 512)
    #expect(Self.refusal(wide + "x") == .threadKeyTooLong)
    #expect(throws: CentaurError(.threadKeyTooLong, "The thread key has 513 bytes; at most 512 are allowed.")) {
      try ThreadKey(key(bytes: 513))
    }
  }

  @Test("no control character gets into a key, and so into a header, a log line or a terminal")
  func controlCharacters() throws {
    let controls = Array(UInt32(0)..<0x20) + Array(0x7F...0x9F) + [0x2028, 0x2029]
    for code in controls {
      let scalar = try #require(Unicode.Scalar(code))
      #expect(Self.refusal("api:a\(Character(scalar))b") == .threadKeyMalformed, "U+\(String(code, radix: 16))")
      #expect(Self.refusal("a\(Character(scalar))b:x") == .threadKeyMalformed, "U+\(String(code, radix: 16))")
    }
    #expect(Self.refusal("api:a\r\nb") == .threadKeyMalformed)
    #expect(Self.refusal("api:\u{20}\u{7E}\u{A0}") == nil)
  }

  @Test("two keys are the same where their bytes are, as the store compares them")
  func bytesDecide() throws {
    let composed = try ThreadKey("api:caf\u{E9}")
    let decomposed = try ThreadKey("api:cafe\u{301}")
    #expect(composed != decomposed)
    #expect(Set([composed, decomposed]).count == 2)
    #expect(Set([composed, try ThreadKey("api:caf\u{E9}")]).count == 1)
  }
}
