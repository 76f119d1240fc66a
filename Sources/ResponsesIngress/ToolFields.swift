import SessionModel

/// The fields `tools` and `tool_choice`: their shapes, and how a response repeats them.
enum ToolFields {
  private static let function = FieldShape.object([
    FieldMember("name", .name, isRequired: true), FieldMember("description", .string()),
    FieldMember("parameters", .object([])), FieldMember("strict", .bool),
  ])

  /// A program's own functions, as many as the server's limit says (the specification's is 128); what OpenAI hosts
  /// (`web_search`, `file_search`, …) this server does not have.
  static func check(_ tools: JSONValue) throws(FieldFault) {
    try FieldShape.list(of: .checked(checkTool)).check(tools)
    var names: Set<String> = []
    for (index, tool) in (tools.array ?? []).enumerated() {
      guard let name = tool["name"]?.string, !names.insert(name).inserted else { continue }
      throw FieldFault(.invalidValue, "is the name of another tool too").inside("[\(index)].name")
    }
  }

  private static func checkTool(_ tool: JSONValue) throws(FieldFault) {
    try FieldShape.object([FieldMember("type", .string(longest: 64), isRequired: true)]).check(tool)
    guard let type = tool["type"]?.string, type != "function" else { return try function.check(tool) }
    throw FieldFault(
      .unsupported, "is not supported: this server takes tools of the type function, and its agent has tools of its own"
    ).inside("type")
  }

  // MARK: Which tool

  private static let modes = ["none", "auto", "required"]

  static func checkChoice(_ choice: JSONValue) throws(FieldFault) {
    switch choice {
    case .string: try FieldShape.oneOf(modes).check(choice)
    case .object:
      let types = ["function", "allowed_tools"]
      try FieldShape.object([FieldMember("type", .oneOf(types), isRequired: true)]).check(choice)
      guard choice["type"]?.string == "allowed_tools" else { return try named.check(choice) }
      let allowed = FieldShape.object([
        FieldMember("tools", .list(of: named), isRequired: true), FieldMember("mode", .oneOf(modes)),
      ])
      try allowed.check(choice)
      if choice["tools"]?.array?.isEmpty == true {
        throw FieldFault(.invalidValue, "must name at least one tool").inside("tools")
      }
    default: throw .wrongType("a string or an object", choice)
    }
  }

  private static let named = FieldShape.object([
    FieldMember("type", .oneOf(["function"]), isRequired: true), FieldMember("name", .name, isRequired: true),
  ])

  /// Whom the choice names must be there.
  static func checkChoice(in body: JSONValue) throws(FieldFault) {
    guard let choice = body["tool_choice"], !choice.isNull else { return }
    let tools = Set((body["tools"]?.array ?? []).compactMap { $0["name"]?.string })
    if choice.string == "required", tools.isEmpty {
      throw FieldFault(.invalidValue, "is 'required', and there are no tools").inside("tool_choice")
    }
    for name in names(of: choice) where !tools.contains(name) {
      throw FieldFault(.invalidValue, "names '\(name)', which is not one of the tools").inside("tool_choice")
    }
  }

  private static func names(of choice: JSONValue) -> [String] {
    switch choice["type"]?.string {
    case "function": [choice["name"]?.string].compactMap(\.self)
    case "allowed_tools": (choice["tools"]?.array ?? []).compactMap { $0["name"]?.string }
    default: []
    }
  }

  // MARK: In the response

  /// All members that the specification requires of a tool, nullable ones as null.
  static func echo(tools: JSONValue) -> JSONValue {
    .array(
      (tools.array ?? []).map { tool in
        [
          "type": "function", "name": tool["name"] ?? "", "description": tool["description"] ?? .null,
          "parameters": tool["parameters"] ?? .null, "strict": tool["strict"] ?? .null,
        ]
      })
  }

  static func echo(choice: JSONValue) -> JSONValue {
    func function(_ choice: JSONValue) -> JSONValue { ["type": "function", "name": choice["name"] ?? ""] }
    return switch choice["type"]?.string {
    case "function": function(choice)
    case "allowed_tools":
      [
        "type": "allowed_tools", "tools": .array((choice["tools"]?.array ?? []).map(function)),
        "mode": choice["mode"].unlessNull ?? "auto",
      ]
    default: choice
    }
  }
}
