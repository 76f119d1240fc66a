import Ingress
import SampleTurns
import SessionModel
import Testing

@testable import ResponsesIngress

/// A program's request against the specification. A failure here means that a program is left to guess why it gets
/// something else than it asked for, or that one which is right is turned away.
struct RequestFieldsTests {
  static func body(_ members: JSONValue) -> JSONValue {
    merged(["model": "m", "input": "x"], members)
  }

  private static func merged(_ base: JSONValue, _ more: JSONValue) -> JSONValue {
    var object = base.object ?? JSONObject()
    for (key, value) in (more.object ?? JSONObject()).members { object[key] = value }
    return .object(object)
  }

  static func refusal(_ members: JSONValue) -> CentaurError? {
    do throws(CentaurError) {
      let request = try ResponsesRequest(body(members))
      try RequestFields.check(request.body)
      return nil
    } catch { return error }
  }

  private static func format(_ more: JSONValue) -> JSONValue {
    ["text": ["format": merged(["type": "json_schema", "name": "n", "schema": ["type": "object"]], more)]]
  }

  private static func user(_ parts: JSONValue...) -> JSONValue {
    ["input": [["role": "user", "content": .array(parts)]]]
  }

  private static let function: JSONValue = ["type": "function", "name": "f"]
  private static let long = JSONValue.string(String(repeating: "é", count: 513))
  private static let pairs = JSONValue.object(
    JSONObject((0..<17).map { (key: "k\($0)", value: JSONValue.string("v")) }))
  private static let longKey = JSONValue.object(
    JSONObject([(key: String(repeating: "k", count: 65), value: JSONValue.string("v"))]))

  struct Refused: Sendable {
    var members: JSONValue
    var code: CentaurError.Code
    var parameter: String
    init(_ members: JSONValue, _ code: CentaurError.Code, _ parameter: String) {
      (self.members, self.code, self.parameter) = (members, code, parameter)
    }
  }

  static let refused: [Refused] = [
    Refused(["temperature": 2.1], .invalidValue, "temperature"),
    Refused(["temperature": "0"], .invalidType, "temperature"),
    Refused(["top_p": -0.1], .invalidValue, "top_p"),
    Refused(["presence_penalty": -3], .invalidValue, "presence_penalty"),
    Refused(["frequency_penalty": 3], .invalidValue, "frequency_penalty"),
    Refused(["top_logprobs": 21], .invalidValue, "top_logprobs"),
    Refused(["top_logprobs": 1.5], .invalidType, "top_logprobs"),
    Refused(["max_output_tokens": -1], .invalidValue, "max_output_tokens"),
    Refused(["max_output_tokens": 15], .invalidValue, "max_output_tokens"),
    Refused(["max_output_tokens": 1e30], .invalidType, "max_output_tokens"),
    Refused(["max_tool_calls": 0], .invalidValue, "max_tool_calls"),
    Refused(["truncation": "some"], .invalidValue, "truncation"),
    Refused(["truncation": 1], .invalidType, "truncation"),
    Refused(["service_tier": "gold"], .invalidValue, "service_tier"),
    Refused(["safety_identifier": .string(String(repeating: "x", count: 65))], .invalidValue, "safety_identifier"),
    Refused(["prompt_cache_key": .string(String(repeating: "x", count: 65))], .invalidValue, "prompt_cache_key"),
    Refused(["user": 1], .invalidType, "user"),
    Refused(["metadata": ["a": 1]], .invalidType, "metadata.a"),
    Refused(["metadata": ["a": long]], .invalidValue, "metadata.a"),
    Refused(["metadata": pairs], .invalidValue, "metadata"),
    Refused(["metadata": longKey], .invalidValue, "metadata"),
    Refused(["include": ["everything"]], .invalidValue, "include[0]"),
    Refused(["stream_options": ["include_obfuscation": 1]], .invalidType, "stream_options.include_obfuscation"),
    Refused(["reasoning": ["effort": "frantic"]], .invalidValue, "reasoning.effort"),
    Refused(["reasoning": ["effort": 3]], .invalidType, "reasoning.effort"),
    Refused(["reasoning": ["summary": "long"]], .invalidValue, "reasoning.summary"),
    Refused(["text": ["verbosity": "loud"]], .invalidValue, "text.verbosity"),
    Refused(["text": ["format": "json"]], .invalidType, "text.format"),
    Refused(["text": ["format": [:]]], .missingField, "text.format.type"),
    Refused(["text": ["format": ["type": "xml"]]], .invalidValue, "text.format.type"),
    Refused(["text": ["format": ["type": "json_schema"]]], .missingField, "text.format.name"),
    Refused(format(["name": "a b"]), .invalidValue, "text.format.name"),
    Refused(format(["schema": .null]), .missingField, "text.format.schema"),
    Refused(format(["schema": "s"]), .invalidType, "text.format.schema"),
    Refused(format(["schema": ["type": "thing"]]), .invalidValue, "text.format.schema.type"),
    Refused(format(["strict": "yes"]), .invalidType, "text.format.strict"),
    Refused(format(["strict": true]), .invalidValue, "text.format.schema"),
    Refused(["tools": [["type": "web_search"]]], .unsupported, "tools[0].type"),
    Refused(["tools": [["name": "f"]]], .missingField, "tools[0].type"),
    Refused(["tools": [["type": "function"]]], .missingField, "tools[0].name"),
    Refused(["tools": [["type": "function", "name": "a.b"]]], .invalidValue, "tools[0].name"),
    Refused(["tools": [["type": "function", "name": "f", "parameters": []]]], .invalidType, "tools[0].parameters"),
    Refused(["tools": [function, function]], .invalidValue, "tools[1].name"),
    Refused(["tool_choice": "any"], .invalidValue, "tool_choice"),
    Refused(["tool_choice": 1], .invalidType, "tool_choice"),
    Refused(["tool_choice": "required"], .invalidValue, "tool_choice"),
    Refused(["tool_choice": ["type": "function", "name": "g"], "tools": [function]], .invalidValue, "tool_choice"),
    Refused(["tool_choice": ["type": "allowed_tools", "tools": []]], .invalidValue, "tool_choice.tools"),
    Refused(
      ["tool_choice": ["type": "allowed_tools", "mode": "some", "tools": [function]], "tools": [function]],
      .invalidValue, "tool_choice.mode"),
    Refused(["prompt": ["id": "pmpt_1"]], .unsupported, "prompt"),
    Refused(["background": true, "store": false], .invalidValue, "background"),
    Refused(["input": [["type": "dance"]]], .invalidValue, "input[0].type"),
    Refused(["input": [["role": "robot", "content": "x"]]], .invalidValue, "input[0].role"),
    Refused(["input": [["role": "user"]]], .missingField, "input[0].content"),
    Refused(["input": [["role": "assistant", "content": "x", "phase": "last"]]], .invalidValue, "input[0].phase"),
    Refused(["input": [["type": "reasoning"]]], .missingField, "input[0].summary"),
    Refused(["input": [["type": "function_call", "name": "f"]]], .missingField, "input[0].call_id"),
    Refused(
      ["input": [["type": "function_call_output", "call_id": "c", "output": 1]]], .invalidType, "input[0].output"),
    Refused(user(["type": "input_audio"]), .unsupported, "input[0].content[0].type"),
    Refused(user(["type": "hologram"]), .invalidValue, "input[0].content[0].type"),
    Refused(user(["text": "x"]), .missingField, "input[0].content[0].type"),
    Refused(user(["type": "input_text", "text": 1]), .invalidType, "input[0].content[0].text"),
    Refused(
      user(["type": "input_image", "image_url": "https://example.com/a.png"]), .unsupported,
      "input[0].content[0].image_url"),
    Refused(user(["type": "input_image", "file_id": "file_1"]), .unsupported, "input[0].content[0].file_id"),
    Refused(user(["type": "input_image"]), .missingField, "input[0].content[0].image_url"),
    Refused(
      user(["type": "input_image", "image_url": "data:text/plain,x"]), .invalidValue, "input[0].content[0].image_url"),
    Refused(
      user(["type": "input_image", "image_url": "data:image/png;base64,@@@@"]), .invalidValue,
      "input[0].content[0].image_url"),
    Refused(
      user(["type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "huge"]), .invalidValue,
      "input[0].content[0].detail"),
    Refused(
      user(["type": "input_file", "file_url": "https://example.com/a"]), .unsupported, "input[0].content[0].file_url"),
    Refused(user(["type": "input_file", "file_id": "file_1"]), .unsupported, "input[0].content[0].file_id"),
    Refused(user(["type": "input_file", "file_data": "AAAA"]), .unsupported, "input[0].content[0].file_data"),
  ]

  @Test("what is wrong is named", arguments: refused)
  func isNamed(_ wrong: Refused) throws {
    let error = try #require(Self.refusal(wrong.members), "\(wrong.members.text) is taken")
    #expect(error.code == wrong.code && error.parameter == wrong.parameter, "\(wrong.members.text): \(error)")
  }

  static let accepted: [JSONValue] = [
    [:],
    [
      "temperature": 2, "top_p": 0, "presence_penalty": -2, "frequency_penalty": 2, "top_logprobs": 20,
      "max_output_tokens": 16, "max_tool_calls": 1, "parallel_tool_calls": false, "truncation": "auto",
      "service_tier": "flex", "safety_identifier": "s", "prompt_cache_key": "p", "user": "u", "store": false,
      "include": ["reasoning.encrypted_content"], "stream_options": ["include_obfuscation": false],
      "metadata": ["a": "b"], "reasoning": ["effort": "xhigh", "summary": "concise"],
    ],
    [
      "temperature": .null, "metadata": .null, "tools": .null, "tool_choice": .null, "text": .null, "reasoning": .null,
      "include": .null, "prompt": .null, "background": .null,
    ],
    ["text": ["format": ["type": "json_object"], "verbosity": "low"]],
    format(["strict": false]), format(["description": "d", "strict": .null]),
    format(["strict": true, "schema": ["type": "object", "properties": [:], "additionalProperties": false]]),
    ["tools": [function], "tool_choice": ["type": "function", "name": "f"]],
    ["tools": [function], "tool_choice": ["type": "allowed_tools", "tools": [function]]],
    ["tools": [function], "tool_choice": "required"], ["tool_choice": "none"],
    ["background": true, "store": true], ["something_new": ["deep": [1]]],
    user(
      ["type": "input_text", "text": "a"], ["type": "input_image", "image_url": "data:image/png;base64,AAAA"],
      ["type": "input_file", "filename": "a.txt", "file_data": "data:text/plain,hello"]),
    [
      "input": [
        ["role": "system", "content": "s"], ["role": "user", "content": "x"], ["id": "msg_1"],
        ["type": "item_reference", "id": "rs_1"], ["type": "reasoning", "id": "rs_1", "summary": []],
        ["type": "compaction", "encrypted_content": "e"], ["type": "centaur:command", "id": "item_1"],
        ["type": "web_search_call", "id": "ws_1"],
        [
          "type": "message", "role": "assistant", "phase": "commentary",
          "content": [["type": "output_text", "text": "a", "annotations": []], ["type": "refusal", "refusal": "no"]],
        ],
        ["type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"],
        ["type": "function_call_output", "call_id": "c", "output": [["type": "input_text", "text": "o"]]],
        ["role": "user", "content": "go on"],
      ]
    ],
  ]

  @Test("what the specification allows is taken", arguments: accepted)
  func isTaken(_ members: JSONValue) {
    #expect(Self.refusal(members) == nil)
  }

  @Test("a program is told which of its wishes no harness can be asked for")
  func notHonoured() {
    let wishes: JSONValue = [
      "temperature": 0.2, "top_p": 1, "parallel_tool_calls": false, "tool_choice": "required",
      "text": ["verbosity": "low"],
    ]
    #expect(NotHonoured(responses: wishes).fields == ["temperature", "tool_choice", "text.verbosity"])
    #expect(NotHonoured(responses: wishes).sentence?.contains("temperature, tool_choice, text.verbosity") == true)
    #expect(NotHonoured(responses: Self.body(["metadata": ["a": "b"], "user": "u"])).sentence == nil)
  }

  @Test("a choice whose mode is null comes back with the usual one: the specification has no null there")
  func nullMode() {
    let body: JSONValue = ["tool_choice": ["type": "allowed_tools", "tools": [], "mode": .null]]
    let echo = ReplyEcho(body: body, isCodex: false, showsWork: false, showsItems: false, heldItemIDs: [])
    #expect(echo.fields["tool_choice"]?["mode"] == "auto")
  }

  @Test("truncation is warned of where a program says itself that nothing may be left out")
  func truncation() {
    #expect(NotHonoured(responses: ["truncation": "disabled"]).sentence?.contains("truncation") == true)
    for said: JSONValue in [[:], ["truncation": .null], ["truncation": "auto"]] {
      #expect(NotHonoured(responses: said).sentence == nil)
    }
  }

  @Test("an item that stands elsewhere than in an input is held to the same, under its own place", arguments: refused)
  func itemsElsewhere(_ wrong: Refused) throws {
    guard case .array(let items)? = wrong.members["input"], wrong.parameter.hasPrefix("input[0]") else { return }
    let path = "items[7]" + wrong.parameter.dropFirst("input[0]".count)
    let item = try #require(items.first)
    do throws(CentaurError) {
      try InputFields.check(item, path: "items[7]")
      Issue.record("\(wrong.members.text) is taken")
    } catch { #expect(error.code == wrong.code && error.parameter == path, "\(error)") }
  }

  @Test("what was added to a conversation is shown as it was sent: phase, detail, role")
  func shownAsSaid() throws {
    let image: JSONValue = ["type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"]
    let plain: JSONValue = ["type": "input_image", "image_url": "data:image/png;base64,BBBB"]
    let user: JSONValue = ["role": "user", "content": [["type": "input_text", "text": ""], image, plain]]
    let said = try ShownItem.added(user, path: "items[0]", name: "n").shown
    #expect(said["content"]?.array?.map { $0["detail"]?.string } == ["low", "auto"])
    #expect(said["content"]?.array?.map { $0["image_url"] } == [image["image_url"], plain["image_url"]])
    for phase in ["commentary", "final_answer"] {
      let item: JSONValue = ["role": "assistant", "phase": .string(phase), "content": "so"]
      let added = try ShownItem.added(item, path: "items[0]", name: "n")
      #expect(added.shown["phase"]?.string == phase && added.message.phase?.wireName == phase)
    }
    let unsaid = try ShownItem.added(["role": "assistant", "content": "so"], path: "items[0]", name: "n")
    #expect(unsaid.shown["phase"] == nil)
  }

  @Test("fields come back in the forms that a response has them in")
  func echo() {
    let body: JSONValue = [
      "tools": [["type": "function", "name": "f", "parameters": ["type": "object"]]],
      "tool_choice": ["type": "allowed_tools", "tools": [["type": "function", "name": "f"]]],
      "text": ["format": ["type": "json_schema", "name": "n", "schema": ["type": "object"]], "verbosity": .null],
      "reasoning": ["effort": "minimal", "generate_summary": "concise"], "service_tier": "auto",
    ]
    let echo = ReplyEcho(body: body, isCodex: false, showsWork: false, showsItems: false, heldItemIDs: [])
    let expected: JSONValue = [
      "tool_choice": ["type": "allowed_tools", "tools": [["type": "function", "name": "f"]], "mode": "auto"],
      "tools": [
        [
          "type": "function", "name": "f", "description": .null, "parameters": ["type": "object"], "strict": .null,
        ]
      ],
      "text": [
        "format": ["type": "json_schema", "name": "n", "description": .null, "schema": .null, "strict": false]
      ],
      "reasoning": ["effort": "low", "summary": "concise"], "service_tier": "default",
    ]
    #expect(JSONValue.object(echo.fields) == expected)
  }

  @Test("a program's wishes for the turn reach the harness's options")
  func options() throws {
    let body = Self.body([
      "reasoning": ["effort": "high", "summary": "detailed"], "service_tier": "flex", "max_output_tokens": 100,
      "max_tool_calls": 7, "text": ["format": ["type": "json_object"]],
    ])
    let turn = try TurnReading(ResponsesRequest(body), headers: .init([:])).turn(of: .local).0
    let options = turn.options
    #expect((options.effort, options.summary, options.serviceTier) == ("high", "detailed", "flex"))
    #expect(options.maxOutputTokens == 100 && options.outputSchema == ["type": "object"])
    #expect(options.maxToolCalls == 7 && turn.notHonoured == nil)
  }

  @Test(
    "a provider's tier is taken by each name that real clients have for it",
    arguments: [
      ("auto", "default", nil), ("default", "default", nil), ("flex", "flex", "flex"), ("scale", "scale", "scale"),
      ("priority", "priority", "priority"), ("fast", "priority", "priority"), ("ultrafast", "ultrafast", "ultrafast"),
    ] as [(sent: String, echoed: String, asked: String?)])
  func tiers(_ sent: String, _ echoed: String, _ asked: String?) throws {
    let request = try ResponsesRequest(Self.body(["service_tier": .string(sent)]))
    let (turn, echo) = try TurnReading(request, headers: .init([:])).turn(of: .local)
    #expect(echo.fields["service_tier"]?.string == echoed && turn.options.serviceTier == asked)
  }

  @Test("a history keeps which of an assistant's messages was the answer")
  func phases() throws {
    let body: JSONValue = [
      "input": [
        ["role": "user", "content": "a"], ["role": "assistant", "content": "b", "phase": "commentary"],
        ["role": "assistant", "content": "c", "phase": "final_answer"], ["role": "user", "content": "d"],
      ]
    ]
    let turn = try TurnReading(ResponsesRequest(body), headers: .init([:])).turn(of: .local).0
    #expect(turn.history().map(\.phase) == [nil, .commentary, .final])
  }

  @Test("Codex is not refused for what a program may not send")
  func codex() throws {
    let body: JSONValue = [
      "model": "m", "reasoning": ["effort": "ultra", "context": "all_turns"], "service_tier": "fast",
      "tools": [["type": "namespace", "name": "functions"], ["type": "web_search"]], "include": ["new.thing"],
      "text": ["verbosity": "loud"], "prompt_cache_key": .string(String(repeating: "k", count: 100)), "store": false,
      "input": [["type": "brand_new"], ["type": "message", "role": "user", "id": "msg_1_a", "content": "x"]],
    ]
    let headers = RequestHeaders(["session-id": "s1"])
    let (turn, echo) = try TurnReading(ResponsesRequest(body), headers: headers).turn(of: .local)
    #expect(turn.notHonoured == nil && turn.options.serviceTier == nil)
    #expect(!turn.keepsReply, "`store: false` means what it says, whoever says it")
    #expect(echo.fields["reasoning"] == ["effort": .null, "summary": .null], "no effort that the specification lacks")
  }

  @Test(
    "a response that was cut at a limit of its request's is incomplete, streamed or looked at",
    arguments: [TurnOptions.outputLimitReason, TurnOptions.callLimitReason])
  func limits(_ reason: String) {
    let echo = ReplyEcho(body: [:], isCodex: false, showsWork: false, showsItems: false, heldItemIDs: [])
    var translator = TranslatorTests.translator(echo)
    let log = SampleTurns.log([
      .executionStarted(model: "m"), .executionCancelled(reason: reason, SampleTurns.usage),
    ])
    let last = log.flatMap { translator.fold($0) }.last
    #expect(last?.type == "response.incomplete")
    for response in [last?.data["response"], translator.current] {
      #expect(response?["status"] == "incomplete")
      #expect(response?["incomplete_details"] == ["reason": .string(reason)])
    }
  }
}
