import SessionModel
import Testing

/// A log that was damaged must say so: half an event, silently believed, would be shown as the agent's work.
struct CorruptEventTests {
  /// An event that is whole, and one of the members without which it has no meaning, as a path.
  struct Needed: Sendable, CustomTestStringConvertible {
    var payload: EventPayload
    var path: [String]
    var testDescription: String { "\(payload.kind) without \(path.joined(separator: "."))" }

    init(_ payload: EventPayload, _ path: String...) {
      self.payload = payload
      self.path = path
    }
  }

  private static func item(_ content: Item.Content) -> EventPayload {
    .itemCompleted(Item(ordinal: 1, status: .completed, content: content))
  }

  static let needed: [Needed] = {
    let created = EventPayload.sessionCreated(SessionCreated(harness: .codex, origin: "responses"))
    let failed = EventPayload.executionFailed(ExecutionFailure(code: "c", message: "m"), TurnUsage())
    let ready = EventPayload.sandboxReady(
      SandboxReady(id: "s", backend: "process", origin: .cold, duration: .milliseconds(1)))
    let command = item(.command(CommandItem(command: "ls")))
    let tool = item(.toolCall(ToolCallItem(name: "t", arguments: nil, origin: .mcp)))
    let delta = EventPayload.itemDelta(ItemDelta(ordinal: 1, field: .summary(0), text: "x"))
    return [
      Needed(created, "harness"), Needed(created, "origin"), Needed(.sessionRewound(toSeq: 1), "to_event_id"),
      Needed(.messageAppended(Message(parts: [])), "role"), Needed(.executionStarted(model: "m"), "model"),
      Needed(failed, "error"), Needed(failed, "error", "code"), Needed(failed, "error", "message"),
      Needed(.executionCancelled(reason: "r", TurnUsage()), "reason"), Needed(ready, "id"), Needed(ready, "backend"),
      Needed(ready, "origin"), Needed(ready, "duration_ms"), Needed(.sandboxReattached(id: "s"), "id"),
      Needed(.sandboxLost(id: "s", reason: "r"), "id"), Needed(.sandboxLost(id: "s", reason: "r"), "reason"),
      Needed(.sandboxStopped(id: "s", reason: "r"), "id"), Needed(.sandboxStopped(id: "s", reason: "r"), "reason"),
      Needed(.warning(code: "c", message: "m"), "code"), Needed(.warning(code: "c", message: "m"), "message"),
      Needed(command, "item_id"), Needed(command, "type"), Needed(command, "status"), Needed(command, "command"),
      Needed(item(.message(MessageItem(text: "x"))), "text"),
      Needed(item(.webSearch(WebSearchItem(query: "q"))), "query"),
      Needed(tool, "name"), Needed(tool, "origin"), Needed(item(.other(OtherItem(type: "t", raw: nil))), "name"),
      Needed(delta, "item_id"), Needed(delta, "field"), Needed(delta, "index"), Needed(delta, "delta"),
    ]
  }()

  /// The value without the member at the end of the path, or with another value there.
  private static func replacing(_ json: JSONValue, _ path: ArraySlice<String>, _ value: JSONValue?) -> JSONValue {
    guard let key = path.first, var object = json.object else { return json }
    object[key] = path.count == 1 ? value : replacing(object[key] ?? nil, path.dropFirst(), value)
    return .object(object)
  }

  private static func code(_ kind: String, _ json: JSONValue) -> CentaurError.Code? {
    do {
      _ = try EventPayload(kind: kind, json: json)
      return nil
    } catch {
      return error.code
    }
  }

  @Test("an event that lacks what it must have is called corrupt", arguments: needed)
  func missing(_ needed: Needed) throws {
    let kind = needed.payload.kind
    #expect(Self.code(kind, needed.payload.json) == nil)
    #expect(Self.code(kind, Self.replacing(needed.payload.json, needed.path[...], nil)) == .storeCorrupt)
    #expect(Self.code(kind, Self.replacing(needed.payload.json, needed.path[...], [])) == .storeCorrupt)
    let error = #expect(throws: CentaurError.self) {
      try EventPayload(kind: kind, json: Self.replacing(needed.payload.json, needed.path[...], nil))
    }
    #expect(try #require(error).message.contains(kind))
  }

  @Test(
    "a known kind whose payload is no object is called corrupt",
    arguments: ["session.created", "message.appended", "item.started", "item.delta", "execution.failed", "warning"])
  func noObject(_ kind: String) {
    for json: JSONValue in [nil, "text", 3, [], true] { #expect(Self.code(kind, json) == .storeCorrupt) }
  }

  @Test("words that the vocabulary does not have are called corrupt")
  func unknownWords() {
    #expect(Self.code("message.appended", ["role": "robot", "parts": []]) == .storeCorrupt)
    #expect(
      Self.code("message.appended", ["role": "user", "parts": [["type": "smell", "data_url": "x"]]]) == .storeCorrupt)
    #expect(
      Self.code("item.completed", ["item_id": 1, "type": "compaction", "status": "melted"]) == .storeCorrupt)
    #expect(Self.code("item.delta", ["item_id": 1, "field": "taste", "delta": "x"]) == .storeCorrupt)
    #expect(
      Self.code("sandbox.ready", ["id": "s", "backend": "b", "origin": "stolen", "duration_ms": 1]) == .storeCorrupt)
  }

  @Test("a message whose parts lack their content is called corrupt", arguments: ["text", "image", "file"])
  func emptyPart(_ type: String) {
    #expect(Self.code("message.appended", ["role": "user", "parts": [["type": .string(type)]]]) == .storeCorrupt)
    #expect(Self.code("message.appended", ["role": "user", "parts": ["x"]]) == .storeCorrupt)
  }

  @Test("a file change without its path or its kind is called corrupt, not left out")
  func emptyChange() {
    func event(_ change: JSONValue) -> JSONValue {
      ["item_id": 1, "type": "file_change", "status": "completed", "changes": [change]]
    }
    #expect(Self.code("item.completed", event(["path": "a", "kind": "add"])) == nil)
    #expect(Self.code("item.completed", event(["kind": "add"])) == .storeCorrupt)
    #expect(Self.code("item.completed", event(["path": "a"])) == .storeCorrupt)
    #expect(Self.code("item.completed", event(["path": "a", "kind": "melt"])) == .storeCorrupt)
  }

  @Test("a fork whose parent's name cannot be a key is called corrupt")
  func forkedFromNowhere() {
    #expect(Self.code("session.forked", ["from": "no-key", "at_event_id": 1]) == .storeCorrupt)
    #expect(Self.code("session.forked", ["at_event_id": 1]) == .storeCorrupt)
    #expect(Self.code("session.forked", ["from": "api:x"]) == .storeCorrupt)
  }
}
