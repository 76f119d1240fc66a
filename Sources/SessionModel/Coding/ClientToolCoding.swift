extension ClientTool: SavedAsJSON {
  /// As the log holds it: `name`, `description`, `parameters`.
  public var json: JSONValue {
    ["name": .string(name), "description": .string(description), "parameters": parameters]
  }

  public init(saved json: JSONValue) {
    self.init(
      name: json["name"]?.string ?? "", description: json["description"]?.string ?? "",
      parameters: json["parameters"] ?? .object(JSONObject()))
  }
}

extension ClientCall {
  /// As the log and the session API hold it: `call_id`, `name`, `arguments`.
  public var json: JSONValue {
    ["call_id": .string(id.description), "name": .string(name), "arguments": arguments]
  }

  init(_ reader: PayloadReader) throws(CentaurError) {
    self.init(
      id: try reader.call("call_id"), name: try reader.string("name"), arguments: reader.json["arguments"] ?? .null)
  }
}

extension ToolOutput: SavedAsJSON {
  /// As the log and the session API hold it: `call_id`, `parts`, `is_error` where it failed, and `instructions` where
  /// others came with it.
  public var json: JSONValue {
    .members([
      ("call_id", .string(call.description)), ("parts", .array(parts.map(\.json))),
      ("is_error", isError ? true : .null), ("instructions", JSONValue(instructions)),
    ])
  }

  public init(saved json: JSONValue) throws { self = try Self(PayloadReader(kind: "saved.output", json: json)) }

  init(_ reader: PayloadReader) throws(CentaurError) {
    var parts: [Message.Part] = []
    for part in reader.json["parts"]?.array ?? [] {
      parts.append(try Message.Part(PayloadReader(kind: "\(reader.kind).part", json: part)))
    }
    self.init(
      call: try reader.call("call_id"), parts: parts, isError: reader.json["is_error"]?.bool == true,
      instructions: reader.json["instructions"]?.string)
  }
}

extension PayloadReader {
  fileprivate func call(_ key: String) throws(CentaurError) -> ClientCallID {
    guard let id = ClientCallID(try string(key)) else { throw corrupt(key) }
    return id
  }

  /// The objects of a list that may be missing.
  func list<T>(_ key: String, _ read: (PayloadReader) throws(CentaurError) -> T) throws(CentaurError) -> [T] {
    var list: [T] = []
    for element in json[key]?.array ?? [] {
      list.append(try read(PayloadReader(kind: "\(kind).\(key)", json: element)))
    }
    return list
  }
}
