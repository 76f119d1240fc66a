import SessionModel
import Testing

/// `/v1/responses` as Codex and the OpenAI SDKs hear it. Every test of the house that has a model in it stands on this.
@Suite(.timeLimit(.minutes(30)))
struct ResponsesAnswerTests {
  private static func body(_ input: JSONValue, stream: Bool = false) -> JSONValue {
    ["model": "gpt-test", "stream": .bool(stream), "input": input]
  }

  /// What is said to the script in one body.
  private func answer(_ input: JSONValue) async throws -> JSONValue {
    try await RunningModel.with { model in
      let answer = try await model.responses(Self.body(input))
      #expect(answer.status == 200 && answer.isWhole)
      return try answer.json
    }
  }

  /// The same in a stream, whose end says the same as the one body.
  private func stream(_ input: JSONValue) async throws -> [JSONValue] {
    try await RunningModel.with { model in
      let streamed = try await model.responses(Self.body(input, stream: true))
      let events = streamed.events
      #expect(streamed.status == 200 && streamed.isWhole && streamed.isScripted)
      #expect(streamed.type == "text/event-stream")
      #expect(events.map { $0["sequence_number"]?.int } == Array(0..<events.count))
      #expect(events.first?["type"] == "response.created")
      let whole = try await model.responses(Self.body(input))
      #expect(whole.isScripted && whole.type == "application/json")
      let end = try #require(events.last?["response"])
      let body = try whole.json
      for key in ["object", "status", "model", "usage", "error"] { #expect(body[key] == end[key], "\(key)") }
      #expect(try #require(body["output"]).types == #require(end["output"]).types)
      // Each answer has an id of its own, also after a restart: harnesses know ids again.
      let ids = [body, end].compactMap { $0["id"]?.string }
      #expect(Set(ids).count == 2 && ids.allSatisfy { $0.hasPrefix("resp_") && $0.count > "resp_1".count })
      return events
    }
  }

  @Test("a text comes in as many pieces as it should, and is the same text as a whole")
  func text() async throws {
    let events = try await stream(.script(["text": "Hello wörld 😀", "chunks": 4]))
    #expect(
      JSONValue.array(events).types == [
        "response.created", "response.output_item.added", "response.content_part.added", "response.output_text.delta",
        "response.output_text.delta", "response.output_text.delta", "response.output_text.delta",
        "response.output_text.done", "response.content_part.done", "response.output_item.done", "response.completed",
      ])
    let deltas = events.compactMap { $0["type"] == "response.output_text.delta" ? $0["delta"]?.string : nil }
    #expect(deltas.joined() == "Hello wörld 😀")
    let item = try #require(events.last?["response"]?["output"]?[0])
    #expect(item["type"] == "message" && item["role"] == "assistant" && item["status"] == "completed")
    #expect(item["content"]?[0]?["text"] == "Hello wörld 😀")
    #expect(events[9]["item"] == item)
    #expect(events.dropFirst().dropLast().allSatisfy { $0["output_index"] == 0 })
  }

  @Test("a text says which phase it is, where the script does")
  func phase() async throws {
    let answer = try await answer(
      .script(["pre_text": "looking", "pre_phase": "commentary", "text": "done", "phase": "final_answer"]))
    #expect(answer["output"]?[0]?["phase"] == "commentary" && answer["output"]?[1]?["phase"] == "final_answer")
    #expect(try await self.answer(.script(["text": "x"]))["output"]?[0]?["phase"] == nil)
  }

  @Test("reasoning comes as a summary, before what follows from it")
  func reason() async throws {
    let events = try await stream(.script(["reason": "Let me think", "chunks": 2, "text": "42"]))
    let types = JSONValue.array(events).types
    #expect(
      types[1...7] == [
        "response.output_item.added", "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.delta", "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done", "response.reasoning_summary_part.done", "response.output_item.done",
      ])
    let output = try #require(events.last?["response"]?["output"])
    #expect(output.types == ["reasoning", "message"])
    #expect(output[0]?["summary"] == [["type": "summary_text", "text": "Let me think"]])
    #expect(events[4]["item_id"] == output[0]?["id"] && events[4]["summary_index"] == 0)
  }

  @Test("a shell command is called by the tool that the harness has")
  func shell() async throws {
    let input = JSONValue.script(["shell": "echo hi", "extra": ["timeout": 3]])
    let events = try await stream(input)
    let call = try #require(events.last?["response"]?["output"]?[0])
    #expect(call["type"] == "function_call" && call["name"] == "exec_command" && call["status"] == "completed")
    #expect(call["arguments"]?.string == #"{"cmd":"echo hi","timeout":3}"#)
    #expect(call["call_id"]?.string?.isEmpty == false)
    #expect(JSONValue.array(events).types[1...2] == ["response.output_item.added", "response.output_item.done"])

    try await RunningModel.with { model in
      for (tools, name, arguments) in [
        ([["name": "shell"]], "shell", #"{"command":["bash","-lc","echo hi"],"timeout":3}"#),
        ([["name": "shell"], ["name": "exec_command"]], "exec_command", #"{"cmd":"echo hi","timeout":3}"#),
      ] as [(JSONValue, JSONValue, String)] {
        let call = try await model.responses(["input": input, "tools": tools]).json["output"]?[0]
        #expect(call?["name"] == name && call?["arguments"]?.string == arguments)
      }
    }
  }

  @Test("a patch and a named tool are called as they are written")
  func calls() async throws {
    let patch = "*** Begin Patch\n*** Add File: a.txt\n+hi\n*** End Patch\n"
    let output = try #require(
      try await answer(.script(["patch": .string(patch), "tool": "lookup", "args": ["q": [1, nil]]]))["output"])
    #expect(output.types == ["custom_tool_call", "function_call"])
    #expect(output[0]?["name"] == "apply_patch" && output[0]?["input"]?.string == patch)
    #expect(output[1]?["name"] == "lookup" && output[1]?["arguments"] == #"{"q":[1,null]}"#)
    let bare = try await answer(.script(["tool": "now"]))
    #expect(bare["output"]?[0]?["arguments"] == "{}")
    #expect(output[0]?["call_id"] != output[1]?["call_id"])
  }

  @Test("each step is one model call, and sees what the command before it printed")
  func steps() async throws {
    let script = JSONValue.script(
      ["reason": "hm", "shell": "echo hi"], ["shell": "echo {{stdout}}"], ["text": "<{{out}}|{{stdout}}>"])
    let user: JSONValue = ["role": "user", "content": [["type": "input_text", "text": script]]]
    let call: JSONValue = ["type": "function_call", "call_id": "c", "name": "exec_command", "arguments": "{}"]
    let output: JSONValue = ["type": "function_call_output", "call_id": "c", "output": "Exit 0\nOutput:\nhi\n\n"]
    let reasoning: JSONValue = ["type": "reasoning", "summary": []]
    #expect(
      try await answer([user, reasoning, call, output])["output"]?[0]?["arguments"] == #"{"cmd":"echo hi"}"#)
    let last = try await answer([user, reasoning, call, output, call, output])
    #expect(last["output"]?[0]?["content"]?[0]?["text"] == "<Exit 0\nOutput:\nhi\n\n|hi>")
    let over = try await answer([user, call, output, call, output, call, output])
    #expect(over["output"]?[0]?["content"]?[0]?["text"] == "(the script has no more steps)")
    let next: JSONValue = ["role": "user", "content": "Reply PONG"]
    let assistant: JSONValue = ["role": "assistant", "content": [["type": "output_text", "text": "done"]]]
    #expect(
      try await answer([user, call, output, assistant, next])["output"]?[0]?["content"]?[0]?["text"] == "PONG")
  }

  @Test("a text can tell how long the conversation is, how it began, and what the model was told")
  func placeholders() async throws {
    let answer = try await RunningModel.with { model in
      try await model.responses([
        "instructions": "be brief",
        "input": [
          ["role": "developer", "content": "be kind"], ["role": "user", "content": "first words"],
          ["role": "user", "content": "<environment_context>\n<cwd>/w</cwd>\n</environment_context>"],
          ["role": "assistant", "content": "yes"],
          ["role": "user", "content": .script(["text": "{{history}} {{first}} {{instructions}}"])],
          ["role": "user", "content": "<turn_aborted>"],
        ],
      ]).json
    }
    #expect(answer["output"]?[0]?["content"]?[0]?["text"] == "2 first words be brief\nbe kind")
  }

  @Test("usage is what the script says, and else grows with the conversation")
  func usage() async throws {
    let said = try await answer(
      .script(["text": "x", "usage": ["in": 100, "cached": 60, "cache_write": 30, "out": 20, "reasoning": 5]])
    )["usage"]
    #expect(
      said == [
        "input_tokens": 100, "input_tokens_details": ["cached_tokens": 60, "cache_write_tokens": 30],
        "output_tokens": 20,
        "output_tokens_details": ["reasoning_tokens": 5], "total_tokens": 120,
      ])
    let short = try await answer("hi")["usage"]?["input_tokens"]?.int
    let long = try await answer(.string(String(repeating: "hi ", count: 1000)))["usage"]?["input_tokens"]?.int
    #expect(try #require(short) + 700 < #require(long))
  }

  @Test("an answer that is to fail fails with its code, after what it had to say")
  func fail() async throws {
    let events = try await stream(.script(["text": "half", "fail": "context_length_exceeded", "emsg": "Too long."]))
    let types = JSONValue.array(events).types
    #expect(types.contains("response.output_text.delta") && !types.contains("response.completed"))
    #expect(types.last == "response.failed")
    #expect(events.last?["response"]?["status"] == "failed")
    #expect(events.last?["response"]?["error"] == ["code": "context_length_exceeded", "message": "Too long."])
  }

  @Test("an answer that is to be dropped is cut in the middle, in a stream and in one body")
  func drop() async throws {
    try await RunningModel.with { model in
      let input = JSONValue.script(["text": "half of it", "chunks": 4, "drop": true])
      let streamed = try await model.raw("/v1/responses", Self.body(input, stream: true))
      #expect(streamed.hasPrefix("HTTP/1.1 200 OK\r\n") && !streamed.hasSuffix("\r\n0\r\n\r\n"))
      #expect(streamed.ranges(of: "event: response.output_text.delta\n").count == 3)
      #expect(!streamed.contains("response.output_text.done") && !streamed.contains("response.completed"))
      let silent = try await model.raw("/v1/responses", Self.body(.script(["drop": true]), stream: true))
      #expect(silent.ranges(of: "event: ").count == 1 && !silent.hasSuffix("\r\n0\r\n\r\n"))
      let body = try await model.responses(Self.body(input))
      #expect(!body.isWhole)
    }
  }
}
