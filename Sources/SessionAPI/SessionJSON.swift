import FoundationEssentials
import SessionModel

extension Session {
  /// As the session API shows it.
  var json: JSONValue { .object(members) }

  var members: JSONObject {
    JSONObject([
      ("id", .string(id.rawValue)), ("thread_key", .string(key.rawValue)), ("harness", .string(harness.rawValue)),
      ("persona", JSONValue(persona)), ("status", .string(status.rawValue)), ("created_at", .string(createdAt.iso8601)),
      ("last_event_id", .int(lastSeq)),
    ])
  }
}

extension Execution {
  /// As the session API shows it.
  var json: JSONValue {
    [
      "id": .string(id.rawValue), "ordinal": JSONValue(ordinal), "status": .string(status.rawValue),
      "first_event_id": .int(firstSeq), "terminal_event_id": terminalSeq.map(JSONValue.int) ?? .null,
      "created_at": .string(createdAt.iso8601),
    ]
  }
}

extension SessionEvent {
  /// As the session API shows it, on a page and as the data of an SSE frame.
  var json: JSONValue {
    [
      "id": .int(seq), "kind": .string(payload.kind), "execution_id": JSONValue(executionID?.rawValue),
      "created_at": .string(createdAt.iso8601), "payload": payload.json,
    ]
  }
}

extension Timestamp {
  /// `2026-11-24T10:07:00.123Z`
  var iso8601: String {
    Date(timeIntervalSince1970: Double(milliseconds) / 1000)
      .formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
  }
}
