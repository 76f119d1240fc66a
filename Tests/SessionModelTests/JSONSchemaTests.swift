import SessionModel
import Testing

/// Schemas that programs send for an answer. A failure here means that one which cannot work is found only by the
/// provider, after the agent's work, or that a good one is turned away.
struct JSONSchemaTests {
  static let faulty: [(schema: JSONValue, path: String)] = [
    (["type": "thing"], "type"), (["type": []], "type"), (["type": 3], "type"),
    (["properties": []], "properties"), (["properties": ["n": 3]], "properties.n"),
    (["properties": ["n": ["type": "int"]]], "properties.n.type"), (["required": "n"], "required"),
    (["items": 3], "items"), (["items": [["type": "x"]]], "items[0].type"), (["anyOf": []], "anyOf"),
    (["oneOf": [["type": "x"]]], "oneOf[0].type"), (["enum": []], "enum"), (["minLength": -1], "minLength"),
    (["pattern": 3], "pattern"), (["$ref": "https://example.com/s.json"], "$ref"), (["$ref": "#/$defs/gone"], "$ref"),
    (["$defs": ["a": ["not": 3]]], "$defs.a.not"),
    (["additionalProperties": ["type": "x"]], "additionalProperties.type"),
  ]

  @Test("what is no schema is found, and where", arguments: faulty)
  func isFound(_ schema: JSONValue, _ path: String) {
    #expect(JSONSchema(schema).fault?.path == path)
  }

  static let sound: [JSONValue] = [
    [:], true, ["type": ["string", "null"]], ["const": 3, "x-vendor": [], "examples": []],
    ["$defs": ["a/b": ["type": "string"]], "$ref": "#/$defs/a~1b"], ["$ref": "#"],
    ["type": "array", "items": [["type": "string"], true], "additionalItems": false],
    ["properties": ["type": ["type": "string"], "required": ["type": "boolean"]], "exclusiveMinimum": true],
  ]

  @Test("a schema of any draft is one", arguments: sound)
  func anyDraft(_ schema: JSONValue) {
    #expect(JSONSchema(schema).fault == nil)
  }

  private static let strict: JSONValue = [
    "type": "object", "properties": ["n": ["type": "integer"], "more": ["$ref": "#/$defs/more"]],
    "required": ["n", "more"], "additionalProperties": false,
    "$defs": ["more": ["type": "object", "properties": [:], "additionalProperties": false]],
  ]

  @Test("OpenAI's strict rules: an object whose objects name all that they hold")
  func strictness() {
    #expect(JSONSchema(Self.strict).reasonNotStrict == nil)
    #expect(JSONSchema(["type": "array"]).reasonNotStrict != nil)
    #expect(JSONSchema(["type": "object"]).reasonNotStrict != nil)
    let open: JSONValue = ["type": "object", "properties": ["n": [:]], "required": ["n"]]
    #expect(JSONSchema(open).reasonNotStrict?.contains("additionalProperties") == true)
    let optional: JSONValue = ["type": "object", "properties": ["n": [:]], "additionalProperties": false]
    #expect(JSONSchema(optional).reasonNotStrict?.contains("'n'") == true)
    let inner: JSONValue = [
      "type": "object", "properties": ["n": ["type": "array", "items": ["type": "object"]]], "required": ["n"],
      "additionalProperties": false,
    ]
    #expect(JSONSchema(inner).reasonNotStrict?.contains("properties.n.items") == true)
  }
}
