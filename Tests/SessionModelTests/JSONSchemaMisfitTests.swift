import SessionModel
import Testing

/// Answers that are held against a schema. A failure here means that a program takes an answer for what it asked for and
/// breaks on it later, or is warned of one that is right.
struct JSONSchemaMisfitTests {
  private static let person: JSONValue = [
    "type": "object", "required": ["name", "age"], "additionalProperties": false,
    "properties": [
      "name": ["type": "string"], "age": ["type": "integer"], "role": ["enum": ["admin", "user"]],
      "version": ["const": 1], "friends": ["type": "array", "items": ["$ref": "#/$defs/friend"]],
      "contact": ["anyOf": [["type": "null"], ["type": "string"]]], "nick": ["type": ["string", "null"]],
    ],
    "$defs": ["friend": ["type": "object", "required": ["name"], "properties": ["name": ["type": "string"]]]],
  ]

  static let fitting = [
    #"{"name":"Ada","age":36}"#, #" {"age":36.0,"name":""} "#,
    #"{"name":"Ada","age":36,"role":"user","version":1.0,"friends":[],"contact":null,"nick":null}"#,
    #"{"name":"Ada","age":36,"friends":[{"name":"Bob","more":1}],"contact":"x","nick":"a"}"#,
  ]

  @Test("an answer that fits is not warned of", arguments: fitting)
  func fits(_ answer: String) {
    #expect(JSONSchema(Self.person).misfit(of: answer) == nil)
  }

  static let misfits: [(answer: String, path: String, words: String)] = [
    ("", "", "JSON"), ("Ada is 36.", "", "JSON"), ("```json\n{}\n```", "", "JSON"), ("[]", "", "object"),
    (#"{"name":"Ada"}"#, "", "lacks 'age'"), (#"{"name":1,"age":2}"#, "name", "string, not a number"),
    (#"{"name":"Ada","age":1.5}"#, "age", "integer"), (#"{"name":"Ada","age":null}"#, "age", "not null"),
    (#"{"name":"Ada","age":1,"more":2}"#, "more", "must not be there"),
    (#"{"name":"Ada","age":1,"role":"root"}"#, "role", "none of the values"),
    (#"{"name":"Ada","age":1,"version":2}"#, "version", "not the value"),
    (#"{"name":"Ada","age":1,"friends":[{"name":"Bob"},{}]}"#, "friends[1]", "lacks 'name'"),
    (#"{"name":"Ada","age":1,"friends":[{"name":3}]}"#, "friends[0].name", "string"),
    (#"{"name":"Ada","age":1,"contact":3}"#, "contact", "alternatives"),
  ]

  @Test("where an answer does not fit is told", arguments: misfits)
  func isTold(_ answer: String, _ path: String, _ words: String) {
    let misfit = JSONSchema(Self.person).misfit(of: answer)
    #expect(misfit?.path == path && misfit?.reason.contains(words) == true, "\(String(describing: misfit))")
  }

  static let others: [(schema: JSONValue, fits: JSONValue, not: JSONValue?)] = [
    (true, 3, nil), (["properties": ["a": false]], [:], ["a": 1]), ([:], ["a": 1], nil),
    (["const": ["a": 1, "b": [2.0]]], ["b": [2], "a": 1], ["a": 1]),
    (["oneOf": [["type": "integer"], ["type": "number"]]], 1.5, 1), (["not": ["type": "string"]], 1, "a"),
    (["allOf": [["required": ["a"]], ["required": ["b"]]]], ["a": 1, "b": 2], ["a": 1]),
    (["prefixItems": [["type": "string"]], "items": false], ["a"], ["a", "b"]),
    (["items": [["type": "string"]], "additionalItems": ["type": "null"]], ["a", .null], ["a", "b"]),
    (["additionalProperties": ["type": "integer"]], ["x": 1], ["x": "1"]),
    // What is not looked at counts as kept.
    (["type": "string", "pattern": "^b", "minLength": 9, "format": "date"], "a", nil),
    (["patternProperties": ["^x": true], "additionalProperties": false], ["y": 1], nil),
    (["$ref": "#anchor"], 3, nil),
    (["type": "object", "properties": ["me": ["$ref": "#"]]], ["me": ["me": [:]]], ["me": 1]),
  ]

  @Test("the keywords by which models are held to schemas, and no others", arguments: others)
  func keywords(_ schema: JSONValue, _ fits: JSONValue, _ not: JSONValue?) {
    #expect(JSONSchema(schema).misfit(of: fits) == nil)
    if let not { #expect(JSONSchema(schema).misfit(of: not) != nil) }
  }

  @Test("a schema that leads to itself, or branches without end, costs no more than it may")
  func bounded() {
    #expect(JSONSchema(["$ref": "#"]).misfit(of: JSONValue(3)) == nil)
    let branches: JSONValue = [["$ref": "#"], ["$ref": "#"], ["$ref": "#"]]
    #expect(JSONSchema(["anyOf": branches]).misfit(of: JSONValue(3)) == nil)
    #expect(JSONSchema(["oneOf": branches]).misfit(of: JSONValue(3)) == nil)
    #expect(JSONSchema(["not": ["allOf": branches]]).misfit(of: JSONValue(3)) == nil)
  }
}
