import Harness
import SessionModel
import Testing

/// What a program asks of a turn, on its way to Codex. A failure here means that it gets another answer than it asked for
/// and is not told.
struct TurnOptionsTests {
  private static let strict: JSONValue = [
    "type": "object", "properties": ["n": ["type": "integer"]], "required": ["n"], "additionalProperties": false,
  ]
  private static let loose: JSONValue = ["type": "object"]

  private static func line(_ json: JSONValue) -> HarnessLine { HarnessLine(offset: 0, bytes: json.serialized) }

  private static func sent(_ actions: [HarnessAction]) -> [JSONValue] {
    actions.compactMap { action in
      guard case .send(_, let bytes) = action else { return nil }
      return try? JSONValue(parsing: bytes)
    }
  }

  private static func appServer(_ context: HarnessContext = .test("/bin/codex")) -> (any HarnessMachine, [JSONValue]) {
    var machine = CodexAppServer().machine(context)
    _ = machine.launched()
    _ = machine.read(line(["id": 1, "result": [:]]))
    let told = sent(machine.read(line(["id": 2, "result": ["thread": ["id": "T"]]])))
    return (machine, told)
  }

  private static func start(_ machine: inout any HarnessMachine, _ id: String, _ options: TurnOptions) -> JSONValue {
    let actions = machine.begin(
      HarnessTurn(
        execution: ExecutionID(rawValue: id), input: [Message(parts: [.text("go")])], model: "m", options: options))
    return sent(actions).last?["params"] ?? .null
  }

  @Test("effort, summary, tier and a strict schema are Codex's own")
  func appServer() {
    var (machine, _) = Self.appServer()
    var options = TurnOptions(effort: "high", outputSchema: Self.strict)
    (options.summary, options.serviceTier) = ("detailed", "flex")
    let first = Self.start(&machine, "e1", options)
    #expect(first["effort"] == "high" && first["summary"] == "detailed" && first["serviceTierForTurn"] == "flex")
    #expect(first["outputSchema"] == Self.strict && first["input"]?.array?.count == 1)
    let second = Self.start(&machine, "e2", TurnOptions())
    #expect(second["effort"] == "medium", "the effort of the turn before is not this one's")
    #expect(second["outputSchema"] == nil && second["serviceTierForTurn"] == "default")
    let third = Self.start(&machine, "e3", TurnOptions())
    #expect(third["effort"] == nil && third["serviceTierForTurn"] == nil)
  }

  @Test("a schema that a provider would refuse to be strict about is told in words")
  func looseSchema() {
    var (machine, _) = Self.appServer()
    let turn = Self.start(&machine, "e1", TurnOptions(outputSchema: Self.loose))
    #expect(turn["outputSchema"] == nil)
    #expect(turn["input"]?[0]?["text"]?.string?.contains("{\"type\":\"object\"}") == true)
    #expect(turn["input"]?[1]?["text"] == "go")
  }

  @Test("what an assistant said on the way is told as that")
  func phases() {
    var earlier = Message(role: .assistant, parts: [.text("looking")])
    earlier.phase = .commentary
    let (_, sent) = Self.appServer(.test("/bin/codex", history: [earlier, Message(parts: [.text("well?")])]))
    let items = sent.last?["params"]?["items"]?.array ?? []
    #expect(items.map { $0["phase"]?.string } == ["commentary", nil])
  }

  private static func exec(_ options: TurnOptions, state: JSONValue? = nil) throws -> HarnessLaunch {
    var context = HarnessContext.test("/bin/codex", state: state)
    context.turn = TurnWishes(model: "n", options: options)
    return try CodexExec().launch(context)
  }

  @Test("codex exec is started for its turn: model, effort, schema", arguments: [nil, ["thread": "T"] as JSONValue])
  func exec(_ state: JSONValue?) throws {
    let launch = try Self.exec(TurnOptions(effort: "high", outputSchema: Self.strict), state: state)
    #expect(launch.command.contains("model=\"n\"") && launch.command.contains("model_reasoning_effort=\"high\""))
    let format = try #require(launch.command.firstIndex(of: "--output-schema"))
    #expect(launch.command[format + 1] == "/h/answer.schema.json")
    #expect(launch.files["answer.schema.json"] == Self.strict.serialized)
    #expect(launch.command.contains("-"), "the prompt comes by standard input")
    let plain = try Self.exec(TurnOptions(outputSchema: Self.loose), state: state)
    #expect(!plain.command.contains("--output-schema"))
    #expect(!plain.command.contains { $0.hasPrefix("model_reasoning_effort") })
  }

  @Test("a process that was started for one turn does not run another kind of turn")
  func serves() {
    var context = HarnessContext.test("/bin/codex")
    let wishes = TurnWishes(model: "m", options: TurnOptions(effort: "high"))
    context.turn = wishes
    let machine = CodexExec().machine(context)
    #expect(machine.serves(wishes) && !machine.serves(TurnWishes(model: "m", options: TurnOptions())))
    #expect(CodexAppServer().machine(context).serves(TurnWishes(model: "m", options: TurnOptions())))
  }

  @Test("codex exec is told a loose schema behind the prompt")
  func execWords() {
    var machine = CodexExec().machine(.test("/bin/codex"))
    let actions = machine.begin(
      HarnessTurn(
        execution: ExecutionID(rawValue: "e1"), input: [Message(parts: [.text("go")])], model: "m",
        options: TurnOptions(outputSchema: Self.loose)))
    guard case .send(_, let bytes)? = actions.first else {
      Issue.record("nothing was sent")
      return
    }
    #expect(String(decoding: bytes, as: UTF8.self).hasPrefix("go\n\n<answer_format>"))
  }

  @Test("Claude Code cannot ask for a tier or a kind of summary, and says so")
  func claude() throws {
    var driver = try ClaudeDriver.ready()
    var options = TurnOptions()
    options.serviceTier = "flex"
    options.summary = "concise"
    let warnings = driver.begin("e1", options: options).compactMap { action -> String? in
      guard case .emit(let draft) = action, case .warning(let code, _) = draft.payload else { return nil }
      return code
    }
    #expect(warnings == ["service_tier_not_supported", "summary_not_supported"])
  }
}
