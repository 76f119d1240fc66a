public import SessionModel

extension ClientTool {
  /// Reads a tool as both dialects write it: `name`, `description`, and a JSON schema.
  /// - Parameters:
  ///   - schema: the schema's member
  ///   - path: the tool's place in the body
  ///   - others: those before it, whose names it cannot have
  ///   - longestName: in bytes
  /// - Throws: `CentaurError` with `invalidType`, `invalidValue`, `missingField`
  public init(
    _ tool: JSONValue, schema: String, path: String, others: [ClientTool], longestName: Int
  ) throws(CentaurError) {
    guard let name = tool["name"]?.string else {
      throw CentaurError(.missingField, "A function needs a 'name'.", parameter: "\(path).name")
    }
    guard !name.isEmpty, name.utf8.count <= longestName, name.utf8.allSatisfy(Self.isOfNames) else {
      throw CentaurError(
        .invalidValue, "A function's name has 1 to \(longestName) letters, digits, '_' and '-'.",
        parameter: "\(path).name")
    }
    guard !others.contains(where: { $0.name == name }) else {
      throw CentaurError(.invalidValue, "There are two functions named '\(name)'.", parameter: "\(path).name")
    }
    let parameters = tool[schema] ?? .null
    try Self.check(parameters, path: "\(path).\(schema)")
    let description = tool["description"] ?? .null
    guard description.isNull || description.string != nil else {
      throw CentaurError(
        .invalidType, "'description' must be a string, not \(description.kindDescription).",
        parameter: "\(path).description")
    }
    self.init(
      name: name, description: description.string ?? "",
      parameters: parameters.isNull ? ["type": "object", "properties": .object(JSONObject())] : parameters)
  }

  /// A harness refuses all tools where one has a schema that is none.
  private static func check(_ schema: JSONValue, path: String) throws(CentaurError) {
    guard !schema.isNull else { return }
    guard case .object = schema else {
      throw CentaurError(
        .invalidType, "A function's schema must be an object, not \(schema.kindDescription).", parameter: path)
    }
    if let type = schema["type"], type.string != "object" {
      throw CentaurError(.invalidValue, "A function's schema is of the type 'object'.", parameter: "\(path).type")
    }
    if let fault = JSONSchema(schema).fault {
      throw CentaurError(
        .invalidValue, "A function's schema is none: '\(fault.path)' \(fault.reason).",
        parameter: "\(path).\(fault.path)")
    }
  }

  private static func isOfNames(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
      true
    default: false
    }
  }
}
