import SessionModel
import Testing

/// Folds over the log are compared byte for byte: what is written twice must be written the same.
struct JSONSerializerTests {
  @Test(
    "what was read is written again with the same bytes",
    arguments: [
      "null", "true", "false", "0", "-1", "9223372036854775807", "-9223372036854775808", "0.1", "-2.5", "1e+20",
      "5e-324", "1.7976931348623157e+308", "\"\"", #""é€😀\"\\\n\r\t\b\f\u0000\u001f""#, "\"/\u{7F}\"",
      #""\u0085\u009b\u2028\u2029""#, "\"\u{A0}\u{2027}\u{202A}\u{E000}\"", "[]",
      "{}", #"{"b":[1,{"a":null}],"a":"","b":false}"#, #"{"":{"":[[],[[]]]}}"#,
    ])
  func roundTrip(_ text: String) throws {
    let value = try JSONValue(parsing: text)
    #expect(value.text == text)
    #expect(value.serialized == Array(text.utf8))
    #expect(try JSONValue(parsing: value.serialized) == value)
  }

  @Test("control characters never reach the wire as they are")
  func controlCharacters() throws {
    // Those of C1 command a terminal, and at the last ones many a reader of streams ends its line.
    for code in Array(0..<0x20) + Array(0x80..<0xA0) + [0x2028, 0x2029] {
      let text = String(Character(try #require(Unicode.Scalar(UInt32(code)))))
      let written = JSONValue.string("a\(text)b").serialized
      #expect(written.allSatisfy { (0x20..<0x7F).contains($0) })
      #expect(try JSONValue(parsing: written) == .string("a\(text)b"))
    }
  }

  @Test("every double comes back as the same double")
  func doubles() throws {
    for value in [
      0.1, 1.0 / 3, 1e21, 1e-7, 123_456_789.123, -0.0, .leastNonzeroMagnitude, 9_007_199_254_740_992, .pi, 100, 1e15,
      1e16,
    ] {
      let back = try #require(try JSONValue(parsing: JSONValue.double(value).text).double)
      #expect(back.bitPattern == value.bitPattern)
    }
  }

  @Test("a number that JSON cannot say becomes null, not a broken document")
  func notFinite() {
    #expect(JSONValue.array([.double(.nan), .double(.infinity), .double(-.infinity)]).text == "[null,null,null]")
  }

  @Test("a value is appended to what is written already")
  func appends() {
    var bytes = Array("data: ".utf8)
    JSONValue.object(JSONObject([("a", .int(1))])).serialize(into: &bytes)
    #expect(String(decoding: bytes, as: UTF8.self) == #"data: {"a":1}"#)
  }
}

/// Values as our code builds and reads them.
struct JSONValueTests {
  @Test("a member is replaced in its place, added at the end, and removed")
  func members() {
    var object = JSONObject([("a", .int(1)), ("b", .int(2))])
    object["a"] = 3
    object["c"] = 4
    object["b"] = nil
    object["nothing"] = nil
    #expect(JSONValue.object(object).text == #"{"a":3,"c":4}"#)
    #expect(object.count == 2 && !object.isEmpty)
  }

  @Test("a question of the wrong kind is answered with nil, not with a crash")
  func wrongKind() {
    let value: JSONValue = ["n": 1, "s": "x", "a": [1]]
    #expect(value["n"]?["x"] == nil)
    #expect(value["a"]?[1] == nil && value["a"]?[-1] == nil && value[0] == nil)
    #expect(value["s"]?.int == nil && value["n"]?.string == nil && value["n"]?.bool == nil)
    #expect(value.array == nil && value["a"]?.object == nil)
  }

  @Test("a whole double counts as an integer, one that is not or that is too large does not")
  func wholeDouble() {
    #expect(JSONValue.double(3).int == 3)
    #expect(JSONValue.double(3.5).int == nil)
    #expect(JSONValue.double(1e300).int == nil)
    #expect(JSONValue.double(.nan).int == nil)
    #expect(JSONValue.int(3).double == 3)
  }

  @Test("an error message can say what a value is")
  func kinds() {
    let values: [JSONValue] = [nil, true, 1, 1.5, "x", [], .object(JSONObject())]
    #expect(
      values.map(\.kindDescription) == [
        "null", "a boolean", "a number", "a number", "a string", "an array", "an object",
      ])
  }
}
