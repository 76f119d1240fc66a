import SessionModel
import Testing

/// `/v1/messages` as Claude Code and the Anthropic SDKs hear it.
@Suite(.timeLimit(.minutes(30)))
struct MessagesAnswerTests {
  private static func body(_ content: JSONValue, stream: Bool = false) -> JSONValue {
    ["model": "claude-test", "stream": .bool(stream), "messages": [["role": "user", "content": content]]]
  }

  private func answer(_ content: JSONValue) async throws -> JSONValue {
    try await RunningModel.with { model in
      let answer = try await model.messages(Self.body(content))
      #expect(answer.status == 200 && answer.isWhole && answer.isScripted)
      return try answer.json
    }
  }

  /// The events of a stream, with the blocks that a client puts together from them.
  private func stream(_ content: JSONValue) async throws -> (events: [JSONValue], blocks: [String]) {
    try await RunningModel.with { model in
      let streamed = try await model.messages(Self.body(content, stream: true))
      #expect(streamed.status == 200 && streamed.isWhole && streamed.isScripted)
      #expect(streamed.type == "text/event-stream")
      let events = streamed.events
      #expect(events.first?["type"] == "message_start")
      #expect(events.first?["message"]?["content"] == [])
      var blocks: [String] = []
      for event in events {
        switch event["type"] {
        case "content_block_start"?:
          #expect(event["index"]?.int == blocks.count)
          blocks.append("")
        case "content_block_delta"?:
          #expect(event["index"]?.int == blocks.count - 1)
          let delta = try #require(event["delta"])
          blocks[blocks.count - 1] +=
            (delta["text"] ?? delta["thinking"] ?? delta["partial_json"])?.string ?? ""
        default: break
        }
      }
      return (events, blocks)
    }
  }

  @Test("a text comes in as many pieces as it should, and is the same text as a whole")
  func text() async throws {
    let script = JSONValue.script(["text": "Hello wörld 😀", "chunks": 3])
    let (events, blocks) = try await stream(script)
    #expect(
      JSONValue.array(events).types == [
        "message_start", "content_block_start", "content_block_delta", "content_block_delta", "content_block_delta",
        "content_block_stop", "message_delta", "message_stop",
      ])
    #expect(blocks == ["Hello wörld 😀"])
    #expect(events[6]["delta"]?["stop_reason"] == "end_turn")
    let whole = try await answer(script)
    #expect(whole["type"] == "message" && whole["role"] == "assistant" && whole["model"] == "claude-test")
    #expect(whole["content"] == [["type": "text", "text": "Hello wörld 😀"]])
    #expect(whole["stop_reason"] == "end_turn")
  }

  @Test("reasoning comes as a thinking block with its signature")
  func reason() async throws {
    let script = JSONValue.script(["reason": "Let me think", "chunks": 2, "text": "42"])
    let (events, blocks) = try await stream(script)
    #expect(blocks == ["Let me think", "42"])
    #expect(events[1]["content_block"]?["type"] == "thinking")
    #expect(events.contains { $0["delta"]?["type"] == "signature_delta" })
    let whole = try await answer(script)
    #expect(try #require(whole["content"]).types == ["thinking", "text"])
    #expect(whole["content"]?[0]?["thinking"] == "Let me think")
  }

  @Test("a shell command, a patch and a named tool are tool uses, and the answer waits for their results")
  func calls() async throws {
    let (events, blocks) = try await stream(.script(["shell": "echo hi", "extra": ["timeout": 3]]))
    #expect(events[1]["content_block"]?["type"] == "tool_use" && events[1]["content_block"]?["name"] == "Bash")
    #expect(blocks == [#"{"command":"echo hi","description":"as scripted","timeout":3}"#])
    #expect(events[4]["delta"]?["stop_reason"] == "tool_use")

    let patch = "*** Begin Patch\n*** Add File: a.txt\n+one\n+two\n*** Add File: b.txt\n+three\n*** End Patch\n"
    let whole = try await answer(.script(["patch": .string(patch), "tool": "lookup", "args": ["q": 1]]))
    let content = try #require(whole["content"])
    #expect(content.types == ["tool_use", "tool_use"] && whole["stop_reason"] == "tool_use")
    #expect(
      content[0]?["input"]?["command"]?.string == """
        cat > 'a.txt' <<'CENTAUR_END'
        one
        two
        CENTAUR_END
        cat > 'b.txt' <<'CENTAUR_END'
        three
        CENTAUR_END

        """)
    #expect(content[1]?["name"] == "lookup" && content[1]?["input"] == ["q": 1])
    #expect(content[0]?["id"] != content[1]?["id"])
  }

  @Test("each step is one model call, and sees what the tool before it gave")
  func steps() async throws {
    let user: JSONValue = [
      "role": "user",
      "content": [
        ["type": "text", "text": "<system-reminder>\nnothing\n</system-reminder>"],
        ["type": "text", "text": .script(["shell": "echo hi"], ["text": "<{{out}}> {{history}} {{instructions}}"])],
      ],
    ]
    let use: JSONValue = [
      "role": "assistant", "content": [["type": "tool_use", "id": "t", "name": "Bash", "input": []]],
    ]
    let result: JSONValue = [
      "role": "user",
      "content": [["type": "tool_result", "tool_use_id": "t", "content": [["type": "text", "text": "hi\n"]]]],
    ]
    try await RunningModel.with { model in
      let first = try await model.messages(["system": "be brief", "messages": [user]]).json
      #expect(first["content"]?[0]?["type"] == "tool_use")
      let system: JSONValue = [["type": "text", "text": "be brief"], ["type": "text", "text": "be kind"]]
      let second = try await model.messages(["system": system, "messages": [user, use, result]]).json
      #expect(second["content"]?[0]?["text"] == "<hi\n> 1 be brief\nbe kind")
    }
  }

  @Test("usage counts the cached input apart, as this API does")
  func usage() async throws {
    let script = JSONValue.script([
      "text": "x", "usage": ["input_tokens": 100, "cached_tokens": 60, "output_tokens": 20],
    ])
    let expected: JSONValue = [
      "input_tokens": 40, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 60, "output_tokens": 20,
    ]
    #expect(try await answer(script)["usage"] == expected)
    let (events, _) = try await stream(script)
    #expect(events[0]["message"]?["usage"]?["cache_read_input_tokens"] == 60)
    #expect(events.first { $0["type"] == "message_delta" }?["usage"]?["output_tokens"] == 20)
  }

  @Test("an answer that is to fail fails with its code, after what it had to say")
  func fail() async throws {
    let script = JSONValue.script(["text": "half", "fail": "overloaded_error"])
    let (events, blocks) = try await stream(script)
    #expect(blocks == ["half"])
    #expect(events.last?["type"] == "error" && events.last?["error"]?["type"] == "overloaded_error")
    #expect(!JSONValue.array(events).types.contains("message_stop"))
    try await RunningModel.with { model in
      let whole = try await model.messages(Self.body(script))
      #expect(whole.status == 529)
      #expect(try whole.json == events.last)
      #expect(try await model.messages(Self.body(.script(["fail": "api_error"]))).status == 500)
    }
  }

  @Test("an answer that is to be dropped is cut in the middle, in a stream and in one body")
  func drop() async throws {
    try await RunningModel.with { model in
      let script = JSONValue.script(["text": "half of it", "chunks": 2, "drop": true])
      let whole = try await model.raw("/v1/messages", Self.body(.script(["text": "all of it"]), stream: true))
      #expect(whole.hasSuffix("\r\n0\r\n\r\n"))
      let streamed = try await model.raw("/v1/messages", Self.body(script, stream: true))
      #expect(streamed.hasPrefix("HTTP/1.1 200 OK\r\n") && !streamed.hasSuffix("\r\n0\r\n\r\n"))
      #expect(streamed.contains("event: content_block_delta\n") && !streamed.contains("message_stop"))
      #expect(try await model.messages(Self.body(script)).isWhole == false)
    }
  }
}
