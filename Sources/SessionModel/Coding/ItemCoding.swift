extension Item {
  /// As the log and the session API hold it: `item_id` (the ordinal), `type`, `status`, and the kind's own members.
  public var json: JSONValue {
    var object = JSONObject()
    object.append("item_id", JSONValue(ordinal))
    object.append("type", .string(typeName))
    object.append("status", .string(status.rawValue))
    for (key, value) in contentMembers where !value.isNull { object.append(key, value) }
    return .object(object)
  }

  /// The kind's name: `message`, `reasoning`, `command` …
  public var typeName: String {
    switch content {
    case .message: "message"
    case .reasoning: "reasoning"
    case .command: "command"
    case .fileChange: "file_change"
    case .toolCall: "tool_call"
    case .plan: "plan"
    case .webSearch: "web_search"
    case .compaction: "compaction"
    case .other: "other"
    }
  }

  private var contentMembers: [(String, JSONValue)] {
    switch content {
    case .message(let message):
      [("phase", JSONValue(message.phase?.rawValue)), ("text", .string(message.text))]
    case .reasoning(let reasoning):
      [("summary", .array(reasoning.summary.map(JSONValue.string))), ("text", .string(reasoning.text))]
    case .command(let command):
      [
        ("command", .string(command.command)), ("cwd", JSONValue(command.cwd)), ("output", .string(command.output)),
        ("exit_code", command.exitCode.map(JSONValue.init(_:)) ?? .null),
        ("duration_ms", command.duration.map { .int($0.milliseconds) } ?? .null),
      ]
    case .fileChange(let change): [("changes", .array(change.changes.map(\.json)))]
    case .toolCall(let call):
      [
        ("name", .string(call.name)), ("arguments", call.arguments), ("result", call.result ?? .null),
        ("origin", .string(call.origin.rawValue)),
      ]
    case .plan(let plan):
      [
        ("steps", .array(plan.steps.map { ["text": .string($0.text), "status": .string($0.status)] })),
        ("text", .string(plan.text)),
      ]
    case .webSearch(let search): [("query", .string(search.query))]
    case .compaction: []
    case .other(let other): [("name", .string(other.type)), ("raw", other.raw)]
    }
  }

  init(_ reader: PayloadReader) throws(CentaurError) {
    guard let status = Status(rawValue: try reader.string("status")) else { throw reader.corrupt("status") }
    self.init(ordinal: Int(try reader.int("item_id")), status: status, content: try Item.content(reader))
  }

  private static func content(_ reader: PayloadReader) throws(CentaurError) -> Content {
    let json = reader.json
    switch try reader.string("type") {
    case "message":
      return .message(
        MessageItem(
          phase: json["phase"]?.string.flatMap(MessageItem.Phase.init(rawValue:)), text: try reader.string("text")))
    case "reasoning":
      return .reasoning(
        ReasoningItem(
          summary: json["summary"]?.array?.compactMap(\.string) ?? [], text: json["text"]?.string ?? ""))
    case "command":
      return .command(
        CommandItem(
          command: try reader.string("command"), cwd: json["cwd"]?.string, output: json["output"]?.string ?? "",
          exitCode: json["exit_code"]?.int, duration: json["duration_ms"]?.int.map { .milliseconds($0) }))
    case "file_change":
      var changes: [FileChangeItem.Change] = []
      for change in json["changes"]?.array ?? [] {
        changes.append(try FileChangeItem.Change(PayloadReader(kind: "\(reader.kind).change", json: change)))
      }
      return .fileChange(FileChangeItem(changes: changes))
    case "tool_call":
      guard let origin = ToolCallItem.Origin(rawValue: try reader.string("origin")) else {
        throw reader.corrupt("origin")
      }
      return .toolCall(
        ToolCallItem(
          name: try reader.string("name"), arguments: json["arguments"] ?? .null, result: json["result"],
          origin: origin))
    case "plan":
      let steps = (json["steps"]?.array ?? []).map {
        PlanItem.Step(text: $0["text"]?.string ?? "", status: $0["status"]?.string ?? "")
      }
      return .plan(PlanItem(steps: steps, text: json["text"]?.string ?? ""))
    case "web_search": return .webSearch(WebSearchItem(query: try reader.string("query")))
    case "compaction": return .compaction
    case "other": return .other(OtherItem(type: try reader.string("name"), raw: json["raw"] ?? .null))
    case let type: return .other(OtherItem(type: type, raw: json))
    }
  }
}

extension FileChangeItem.Change {
  fileprivate var json: JSONValue {
    .members([
      ("path", .string(path)), ("kind", .string(kind.rawValue)), ("moved_to", JSONValue(movedTo)),
      ("diff", .string(diff)),
    ])
  }

  fileprivate init(_ reader: PayloadReader) throws(CentaurError) {
    guard let kind = Kind(rawValue: try reader.string("kind")) else { throw reader.corrupt("kind") }
    self.init(
      path: try reader.string("path"), kind: kind, movedTo: reader.json["moved_to"]?.string,
      diff: reader.json["diff"]?.string ?? "")
  }
}

extension ItemDelta {
  /// As the log and the session API hold it.
  public var json: JSONValue {
    var members: [(String, JSONValue)] = [("item_id", JSONValue(ordinal))]
    switch field {
    case .text: members.append(("field", "text"))
    case .summary(let index): members += [("field", "summary"), ("index", JSONValue(index))]
    case .reasoningText: members.append(("field", "reasoning_text"))
    case .output: members.append(("field", "output"))
    }
    members.append(("delta", .string(text)))
    return .members(members)
  }

  init(_ reader: PayloadReader) throws(CentaurError) {
    let field: Field
    switch try reader.string("field") {
    case "text": field = .text
    case "summary": field = .summary(Int(try reader.int("index")))
    case "reasoning_text": field = .reasoningText
    case "output": field = .output
    default: throw reader.corrupt("field")
    }
    self.init(ordinal: Int(try reader.int("item_id")), field: field, text: try reader.string("delta"))
  }
}

extension Message {
  /// As the log and the session API hold it.
  public var json: JSONValue {
    .members([
      ("role", .string(role.rawValue)), ("phase", JSONValue(phase?.rawValue)), ("parts", .array(parts.map(\.json))),
      ("note", isNote ? true : .null), ("client_id", JSONValue(clientID)),
    ])
  }

  init(_ reader: PayloadReader) throws(CentaurError) {
    guard let role = Role(rawValue: try reader.string("role")) else { throw reader.corrupt("role") }
    var parts: [Part] = []
    for part in reader.json["parts"]?.array ?? [] {
      parts.append(try Part(PayloadReader(kind: "\(reader.kind).part", json: part)))
    }
    self.init(role: role, parts: parts, clientID: reader.json["client_id"]?.string)
    phase = reader.json["phase"]?.string.flatMap(MessageItem.Phase.init(rawValue:))
    isNote = reader.json["note"]?.bool ?? false
  }
}

extension Message.Part {
  /// As the log and the session API hold it: `{"type":"text","text":…}`, `image` and `file` with a `data_url`.
  public var json: JSONValue {
    switch self {
    case .text(let text): ["type": "text", "text": .string(text)]
    case .image(let dataURL, let detail):
      .members([("type", "image"), ("data_url", .string(dataURL)), ("detail", JSONValue(detail))])
    case .file(let name, let dataURL):
      .members([("type", "file"), ("name", JSONValue(name)), ("data_url", .string(dataURL))])
    }
  }

  init(_ reader: PayloadReader) throws(CentaurError) {
    switch try reader.string("type") {
    case "text": self = .text(try reader.string("text"))
    case "image": self = .image(dataURL: try reader.string("data_url"), detail: reader.json["detail"]?.string)
    case "file": self = .file(name: reader.json["name"]?.string, dataURL: try reader.string("data_url"))
    default: throw reader.corrupt("type")
    }
  }
}
