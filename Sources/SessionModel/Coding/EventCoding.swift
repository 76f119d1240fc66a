extension EventPayload {
  /// The payload's name in the log and in the session API.
  public var kind: String {
    switch self {
    case .sessionCreated: "session.created"
    case .sessionRewound: "session.rewound"
    case .sessionForked: "session.forked"
    case .sessionArchived: "session.archived"
    case .messageAppended: "message.appended"
    case .executionQueued: "execution.queued"
    case .executionStarted: "execution.started"
    case .executionWaiting: "execution.waiting"
    case .executionResumed: "execution.resumed"
    case .executionCompleted: "execution.completed"
    case .executionFailed: "execution.failed"
    case .executionCancelled: "execution.cancelled"
    case .itemStarted: "item.started"
    case .itemDelta: "item.delta"
    case .itemCompleted: "item.completed"
    case .usageUpdated: "usage.updated"
    case .sandboxReady: "sandbox.ready"
    case .sandboxReattached: "sandbox.reattached"
    case .sandboxLost: "sandbox.lost"
    case .sandboxStopped: "sandbox.stopped"
    case .warning: "warning"
    case .unrecognized(let kind, _): kind
    }
  }

  /// The payload as the log and the session API hold it.
  public var json: JSONValue {
    switch self {
    case .sessionCreated(let created):
      .members([
        ("harness", .string(created.harness.rawValue)), ("persona", JSONValue(created.persona)),
        ("origin", .string(created.origin)), ("instructions", JSONValue(created.instructions)),
      ])
    case .sessionRewound(let toSeq): ["to_event_id": .int(toSeq)]
    case .sessionForked(let parent, let atSeq): ["from": .string(parent.rawValue), "at_event_id": .int(atSeq)]
    case .sessionArchived: .object(JSONObject())
    case .messageAppended(let message): message.json
    case .executionQueued(let options): options.json
    case .executionStarted(let model, let instructions):
      .members([("model", .string(model)), ("instructions", JSONValue(instructions))])
    case .executionWaiting(let calls, let usage): ["calls": .array(calls.map(\.json)), "usage": usage.json]
    case .executionResumed(let outputs, let messages):
      .members([
        ("outputs", .array(outputs.map(\.json))), ("messages", messages == 0 ? .null : JSONValue(messages)),
      ])
    case .executionCompleted(let usage): ["usage": usage.json]
    case .executionFailed(let failure, let usage):
      ["error": ["code": .string(failure.code), "message": .string(failure.message)], "usage": usage.json]
    case .executionCancelled(let reason, let usage): ["reason": .string(reason), "usage": usage.json]
    case .itemStarted(let item), .itemCompleted(let item): item.json
    case .itemDelta(let delta): delta.json
    case .usageUpdated(let call, let turn): ["call": call.json, "turn": turn.json]
    case .sandboxReady(let ready):
      [
        "id": .string(ready.id), "backend": .string(ready.backend), "origin": .string(ready.origin.rawValue),
        "duration_ms": .int(ready.duration.milliseconds),
      ]
    case .sandboxReattached(let id): ["id": .string(id)]
    case .sandboxLost(let id, let reason), .sandboxStopped(let id, let reason):
      ["id": .string(id), "reason": .string(reason)]
    case .warning(let code, let message): ["code": .string(code), "message": .string(message)]
    case .unrecognized(_, let json): json
    }
  }

  /// Reads what `kind` and `json` gave. A kind that this version does not know is kept as it is.
  /// - Throws: `CentaurError` with `storeCorrupt` where a known kind lacks what it must have.
  public init(kind: String, json: JSONValue) throws(CentaurError) {
    let reader = PayloadReader(kind: kind, json: json)
    switch kind {
    case "session.created":
      self = .sessionCreated(
        SessionCreated(
          harness: HarnessName(rawValue: try reader.string("harness")), persona: json["persona"]?.string,
          origin: try reader.string("origin"), instructions: json["instructions"]?.string))
    case "session.rewound": self = .sessionRewound(toSeq: try reader.int("to_event_id"))
    case "session.forked":
      guard let parent = try? ThreadKey(try reader.string("from")) else { throw reader.corrupt("from") }
      self = .sessionForked(from: parent, atSeq: try reader.int("at_event_id"))
    case "session.archived": self = .sessionArchived
    case "message.appended": self = .messageAppended(try Message(reader))
    case "execution.queued": self = .executionQueued(TurnOptions(json: json))
    case "execution.started":
      self = .executionStarted(model: try reader.string("model"), instructions: json["instructions"]?.string)
    case "execution.waiting":
      let calls = try reader.list("calls") { (call) throws(CentaurError) in try ClientCall(call) }
      self = .executionWaiting(calls, TurnUsage(json: json["usage"]))
    case "execution.resumed":
      let outputs = try reader.list("outputs") { (output) throws(CentaurError) in try ToolOutput(output) }
      self = .executionResumed(outputs, messages: json["messages"]?.int ?? 0)
    case "execution.completed": self = .executionCompleted(TurnUsage(json: json["usage"]))
    case "execution.failed":
      let error = reader.nested("error")
      self = .executionFailed(
        ExecutionFailure(code: try error.string("code"), message: try error.string("message")),
        TurnUsage(json: json["usage"]))
    case "execution.cancelled":
      self = .executionCancelled(reason: try reader.string("reason"), TurnUsage(json: json["usage"]))
    case "item.started": self = .itemStarted(try Item(reader))
    case "item.delta": self = .itemDelta(try ItemDelta(reader))
    case "item.completed": self = .itemCompleted(try Item(reader))
    case "usage.updated":
      self = .usageUpdated(call: Usage(json: json["call"]), turn: TurnUsage(json: json["turn"]))
    case "sandbox.ready":
      guard let origin = SandboxReady.Origin(rawValue: try reader.string("origin")) else {
        throw reader.corrupt("origin")
      }
      self = .sandboxReady(
        SandboxReady(
          id: try reader.string("id"), backend: try reader.string("backend"), origin: origin,
          duration: .milliseconds(try reader.int("duration_ms"))))
    case "sandbox.reattached": self = .sandboxReattached(id: try reader.string("id"))
    case "sandbox.lost": self = .sandboxLost(id: try reader.string("id"), reason: try reader.string("reason"))
    case "sandbox.stopped": self = .sandboxStopped(id: try reader.string("id"), reason: try reader.string("reason"))
    case "warning": self = .warning(code: try reader.string("code"), message: try reader.string("message"))
    default: self = .unrecognized(kind: kind, json)
    }
  }
}

/// Reads the members that a payload must have, and says which one is missing.
struct PayloadReader {
  let kind: String
  let json: JSONValue

  func string(_ key: String) throws(CentaurError) -> String {
    guard let value = json[key]?.string else { throw corrupt(key) }
    return value
  }

  func int(_ key: String) throws(CentaurError) -> Int64 {
    guard let value = json[key]?.int else { throw corrupt(key) }
    return Int64(value)
  }

  func nested(_ key: String) -> PayloadReader { PayloadReader(kind: "\(kind).\(key)", json: json[key] ?? .null) }

  func corrupt(_ key: String) -> CentaurError {
    CentaurError(.storeCorrupt, "A stored \(kind) event has no valid '\(key)'.")
  }
}

extension JSONValue {
  /// An object of the members that are not null: absent and null mean the same in the log.
  public static func members(_ members: [(String, JSONValue)]) -> JSONValue {
    .object(JSONObject(members.lazy.filter { !$0.1.isNull }.map { (key: $0.0, value: $0.1) }))
  }
}

extension TurnOptions {
  /// As the log holds it.
  public var json: JSONValue {
    .members([
      ("requested_model", JSONValue(requestedModel)), ("effort", JSONValue(effort)),
      ("summary", JSONValue(summary)), ("service_tier", JSONValue(serviceTier)),
      ("max_output_tokens", maxOutputTokens.map(JSONValue.init(_:)) ?? .null),
      ("max_tool_calls", maxToolCalls.map(JSONValue.init(_:)) ?? .null),
      ("output_schema", outputSchema ?? .null),
      ("conversation", JSONValue(conversation)),
      ("messages_before", messagesBefore.map(JSONValue.init(_:)) ?? .null),
      ("leaves_pending", leavesPending ? true : .null),
      ("tools", tools.isEmpty ? .null : .array(tools.map(\.json))), ("instructions", JSONValue(instructions)),
      ("passes_on", passesOn == 0 ? .null : JSONValue(passesOn)),
    ])
  }

  init(json: JSONValue) {
    self.init(
      requestedModel: json["requested_model"]?.string, effort: json["effort"]?.string,
      outputSchema: json["output_schema"], conversation: json["conversation"]?.string,
      messagesBefore: json["messages_before"]?.int)
    summary = json["summary"]?.string
    serviceTier = json["service_tier"]?.string
    maxOutputTokens = json["max_output_tokens"]?.int
    maxToolCalls = json["max_tool_calls"]?.int
    leavesPending = json["leaves_pending"]?.bool == true
    tools = (json["tools"]?.array ?? []).map(ClientTool.init(saved:))
    instructions = json["instructions"]?.string
    passesOn = max(0, json["passes_on"]?.int ?? 0)
  }
}

extension Usage {
  /// As the session API shows it: `input_tokens`, `cached_input_tokens`, `cache_write_input_tokens`, `output_tokens`,
  /// `reasoning_tokens`.
  public var json: JSONValue {
    [
      "input_tokens": JSONValue(input), "cached_input_tokens": JSONValue(cachedInput),
      "cache_write_input_tokens": JSONValue(cacheWrite), "output_tokens": JSONValue(output),
      "reasoning_tokens": JSONValue(reasoning),
    ]
  }

  init(json: JSONValue?) {
    self.init(
      input: json?["input_tokens"]?.int ?? 0, cachedInput: json?["cached_input_tokens"]?.int ?? 0,
      // Logs from before it was counted have none.
      cacheWrite: json?["cache_write_input_tokens"]?.int ?? 0,
      output: json?["output_tokens"]?.int ?? 0, reasoning: json?["reasoning_tokens"]?.int ?? 0)
  }
}

extension TurnUsage {
  /// As the session API shows it: the newest model call (`last`), the `sum`, and how many calls there were.
  public var json: JSONValue { ["last": last.json, "sum": sum.json, "model_calls": JSONValue(modelCalls)] }

  init(json: JSONValue?) {
    self.init(
      last: Usage(json: json?["last"]), sum: Usage(json: json?["sum"]), modelCalls: json?["model_calls"]?.int ?? 0)
  }
}
