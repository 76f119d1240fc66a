import SessionModel

/// The field `text`: what form the answer is to have.
enum TextFields {
  static let members = [
    FieldMember("format", .checked(checkFormat)), FieldMember("verbosity", .oneOf(["low", "medium", "high"])),
  ]

  private static let kinds = FieldShape.object([
    FieldMember("type", .oneOf(["text", "json_object", "json_schema"]), isRequired: true)
  ])

  private static let schemaFormat = FieldShape.object([
    FieldMember("name", .name, isRequired: true), FieldMember("description", .string()), FieldMember("strict", .bool),
    FieldMember("schema", .checked(checkSchema), isRequired: true),
  ])

  private static func checkFormat(_ format: JSONValue) throws(FieldFault) {
    try kinds.check(format)
    guard format["type"]?.string == "json_schema" else { return }
    try schemaFormat.check(format)
    guard format["strict"]?.bool == true, let schema = format["schema"],
      let reason = JSONSchema(schema).reasonNotStrict
    else { return }
    throw FieldFault(.invalidValue, "cannot be held to strictly: \(reason)").inside("schema")
  }

  private static func checkSchema(_ schema: JSONValue) throws(FieldFault) {
    guard schema.object != nil else { throw .wrongType("an object", schema) }
    guard let fault = JSONSchema(schema).fault else { return }
    throw FieldFault(.invalidValue, fault.reason).inside(fault.path)
  }

  /// What the final answer must be valid against; nil where it may be any text.
  static func outputSchema(_ body: JSONValue) -> JSONValue? {
    let format = body["text"]?["format"]
    return switch format?["type"]?.string {
    case "json_schema": format?["schema"]
    case "json_object": ["type": "object"]
    default: nil
    }
  }

  /// `text` as a response has it. The specification wants the schema of a `json_schema` to be null there, and `strict`
  /// a boolean.
  static func echo(_ text: JSONValue) -> JSONValue {
    var echo = JSONObject()
    let format = text["format"] ?? .null
    switch format["type"]?.string {
    case "json_schema":
      echo.append(
        "format",
        [
          "type": "json_schema", "name": format["name"] ?? "", "description": format["description"] ?? .null,
          "schema": .null, "strict": .bool(format["strict"]?.bool ?? false),
        ])
    case "json_object": echo.append("format", ["type": "json_object"])
    default: echo.append("format", ["type": "text"])
    }
    if let verbosity = text["verbosity"], !verbosity.isNull { echo.append("verbosity", verbosity) }
    return .object(echo)
  }
}
