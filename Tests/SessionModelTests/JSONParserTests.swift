import Testing

@testable import SessionModel

/// Bodies come from anybody. What is read wrong here becomes a wrong turn, and what is read too trustingly an outage.
struct JSONParserTests {
  private static func error(_ bytes: some Sequence<UInt8>) -> JSONParseError? {
    do {
      _ = try JSONValue(parsing: bytes)
      return nil
    } catch {
      return error as? JSONParseError
    }
  }

  private static func error(_ text: String) -> JSONParseError? { error(Array(text.utf8)) }

  @Test("members keep the order in which the client wrote them")
  func order() throws {
    let value = try JSONValue(parsing: #"{"z":1,"a":{"y":[],"b":null},"m":true}"#)
    #expect(value.object?.members.map(\.key) == ["z", "a", "m"])
    #expect(value["a"]?.object?.members.map(\.key) == ["y", "b"])
    #expect(value.text == #"{"z":1,"a":{"y":[],"b":null},"m":true}"#)
  }

  @Test("white space of all four kinds is allowed wherever JSON allows it, and no other")
  func space() throws {
    #expect(try JSONValue(parsing: " \n\r\t{ \"a\" :\t[ 1 , 2 ]\n} \r") == ["a": [1, 2]])
    #expect(try JSONValue(parsing: "[ ]") == [])
    #expect(try JSONValue(parsing: "{\n}") == .object(JSONObject()))
    #expect(Self.error("[1,\u{A0}2]")?.offset == 3)
    #expect(Self.error("\u{FEFF}[]")?.offset == 0)
    #expect(Self.error("[1\u{B}]") == JSONParseError(reason: "expected ',' or ']'", offset: 2))
  }

  @Test("escapes become what they stand for")
  func escapes() throws {
    #expect(try JSONValue(parsing: #""\"\\\/\b\f\n\r\t""#) == .string("\"\\/\u{8}\u{C}\n\r\t"))
    #expect(try JSONValue(parsing: #""a\u0041\u00e9\u20AC\u0000z""#) == .string("aAé€\0z"))
    #expect(try JSONValue(parsing: #"{"\u006bey":1}"#)["key"] == 1)
    #expect(Self.error(#""\x""#)?.reason == "an unknown escape")
    #expect(Self.error(#""\u12g4""#)?.reason == "a \\u escape without four hexadecimal digits")
    #expect(Self.error(#""\u12"#)?.reason == "unexpected end in an escape")
    #expect(Self.error(#""\"#)?.reason == "unexpected end")
    #expect(Self.error("\"a\nb\"")?.reason == "a control character in a string")
    #expect(Self.error("\"\\n\u{1}\"")?.reason == "a control character in a string")
    #expect(try JSONValue(parsing: "\"\u{7F}\"") == .string("\u{7F}"))
  }

  @Test("an emoji that a JavaScript client cut in half does not lose the message")
  func surrogates() throws {
    #expect(try JSONValue(parsing: #""\ud83d\ude00""#) == .string("😀"))
    #expect(try JSONValue(parsing: #""\uD800\uDC00\udbff\udfff""#) == .string("\u{10000}\u{10FFFF}"))
    #expect(try JSONValue(parsing: #""a\ud83d""#) == .string("a\u{FFFD}"))
    #expect(try JSONValue(parsing: #""\ud83dz""#) == .string("\u{FFFD}z"))
    #expect(try JSONValue(parsing: #""\ude00\ud83d""#) == .string("\u{FFFD}\u{FFFD}"))
    #expect(try JSONValue(parsing: #""\ud83d\n""#) == .string("\u{FFFD}\n"))
    #expect(try JSONValue(parsing: #""\ud83d\u0041""#) == .string("\u{FFFD}A"))
    #expect(try JSONValue(parsing: #""\ud83d\ud83d\ude00""#) == .string("\u{FFFD}😀"))
    #expect(Self.error(#""\ud83d\u12zz""#)?.reason == "a \\u escape without four hexadecimal digits")
    #expect(Self.error(#""\ud83d\u"#)?.reason == "unexpected end in an escape")
  }

  @Test(
    "bytes that are not UTF-8 are refused instead of being changed",
    arguments: [
      [0x80], [0xC3], [0xC3, 0x28], [0xC0, 0xAF], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xF0, 0x9F, 0x98],
      [0xFF],
    ] as [[UInt8]])
  func invalidUTF8(_ bytes: [UInt8]) {
    let quote = UInt8(ascii: "\"")
    #expect(Self.error([quote] + bytes + [quote])?.reason == "a string is not UTF-8")
    #expect(Self.error([quote] + bytes + Array(#"\n""#.utf8))?.reason == "a string is not UTF-8")
    #expect(Self.error(Array("{\"".utf8) + bytes + Array("\":1}".utf8))?.reason == "a string is not UTF-8")
    #expect(Self.error(bytes) != nil)
  }

  @Test("nesting is read to the limit and refused beyond it, before the stack ends")
  func depth() throws {
    let limit = JSONValue.maximumDepth
    func arrays(_ depth: Int) -> String { String(repeating: "[", count: depth) + String(repeating: "]", count: depth) }
    func objects(_ depth: Int) -> String {
      String(repeating: #"{"a":"#, count: depth) + "1" + String(repeating: "}", count: depth)
    }
    #expect(try JSONValue(parsing: arrays(limit)).text == arrays(limit))
    #expect(try JSONValue(parsing: objects(limit)).text == objects(limit))
    #expect(Self.error(arrays(limit + 1)) == JSONParseError(reason: "nested deeper than \(limit)", offset: limit))
    #expect(Self.error(objects(limit + 1))?.reason == "nested deeper than \(limit)")
    #expect(Self.error(String(repeating: "[", count: 1_000_000))?.reason == "nested deeper than \(limit)")
    let siblings = "[" + Array(repeating: arrays(limit - 1), count: 3).joined(separator: ",") + "]"
    #expect(try JSONValue(parsing: siblings).text == siblings)
  }

  @Test("integers are exact to the last of 64 bits; what does not fit becomes a double")
  func integers() throws {
    #expect(try JSONValue(parsing: "0") == .int(0))
    #expect(try JSONValue(parsing: "-0") == .int(0))
    #expect(try JSONValue(parsing: "9007199254740993") == .int(9_007_199_254_740_993))
    #expect(try JSONValue(parsing: "9223372036854775807") == .int(.max))
    #expect(try JSONValue(parsing: "-9223372036854775808") == .int(.min))
    #expect(try JSONValue(parsing: "9223372036854775808") == .double(9_223_372_036_854_775_808))
    #expect(try JSONValue(parsing: "-9223372036854775809") == .double(-9_223_372_036_854_775_808))
  }

  @Test("numbers with a fraction or an exponent are doubles, up to what a double holds")
  func doubles() throws {
    #expect(try JSONValue(parsing: "1.0") == .double(1))
    #expect(try JSONValue(parsing: "1e0") == .double(1))
    #expect(try JSONValue(parsing: "-1.5E+3") == .double(-1500))
    #expect(try JSONValue(parsing: "0.1") == .double(0.1))
    #expect(try JSONValue(parsing: "1.7976931348623157e308") == .double(.greatestFiniteMagnitude))
    #expect(try JSONValue(parsing: "5e-324") == .double(.leastNonzeroMagnitude))
    #expect(try JSONValue(parsing: "1e-400") == .double(0))
    #expect(Self.error("1e400")?.reason == "a number out of range")
    #expect(Self.error("-1e400")?.reason == "a number out of range")
    #expect(Self.error(String(repeating: "9", count: 400))?.reason == "a number out of range")
  }

  @Test(
    "what looks like a number and is none is refused",
    arguments: [
      "01", "-01", "00", "+1", "-", "--1", ".5", "1.", "1.e3", "1e", "1e+", "0x10", "1_000", "NaN", "Infinity",
      "-Infinity", "１",
    ])
  func noNumber(_ text: String) {
    #expect(Self.error(text) != nil)
    #expect(Self.error("[\(text)]") != nil)
  }

  @Test(
    "a body that is cut or malformed is refused",
    arguments: [
      "", " ", "{", "[", "\"", "\"a", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "[1", "[1,", "[1,]",
      "[,1]", "{,}", "{a:1}", "{1:1}", "{\"a\" 1}", "{\"a\":1 \"b\":2}", "[1 2]", "'a'", "tru", "truE", "nul", "falsy",
      "]", "}", ":", ",", "{]", "[}", "\u{0}",
    ])
  func malformed(_ text: String) {
    #expect(Self.error(text) != nil)
  }

  @Test("text after the value is refused, and the error says where it stands")
  func trailing() {
    #expect(Self.error("{} x") == JSONParseError(reason: "unexpected text after the value", offset: 3))
    #expect(Self.error("1 2")?.offset == 2)
    #expect(Self.error("null\0")?.offset == 4)
    #expect(Self.error("[]]")?.description == "unexpected text after the value at byte 2")
  }

  @Test("the last of two members of the same name counts, and both are kept for whoever reads the bytes")
  func duplicates() throws {
    let text = #"{"a":1,"b":2,"a":3}"#
    let value = try JSONValue(parsing: text)
    #expect(value["a"] == 3)
    #expect(value.object?.count == 3)
    #expect(value.text == text)
    var object = try #require(value.object)
    object["a"] = nil
    #expect(object["a"] == nil)
    #expect(JSONValue.object(object).text == #"{"b":2}"#)
  }

  @Test("a value is read the same from bytes that are not in one piece")
  func notContiguous() throws {
    let text = #"{"a":[1,"é\n"]}"#
    #expect(try JSONValue(parsing: text.utf8.lazy.map { $0 }) == JSONValue(parsing: text))
    #expect(try JSONValue(parsing: Array(text.utf8)[...]) == JSONValue(parsing: text))
  }
}
