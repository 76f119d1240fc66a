import SessionModel
import Testing

@testable import StandInModel

/// What is common to both APIs: refusals, answers without a script, and scripts that nobody could follow.
@Suite(.timeLimit(.minutes(30)))
struct ScriptTests {
  /// Both APIs, as one call with a text and one that reads the answer's text.
  enum API: String, CaseIterable, Sendable {
    case responses
    case messages

    func ask(_ model: RunningModel, _ text: JSONValue, conversation: JSONValue = "a") async throws
      -> RunningModel.Answer
    {
      switch self {
      case .responses: try await model.responses(["input": text, "prompt_cache_key": conversation])
      case .messages:
        try await model.messages([
          "messages": [["role": "user", "content": text]], "metadata": ["user_id": conversation],
        ])
      }
    }

    func text(_ answer: RunningModel.Answer) throws -> String? {
      switch self {
      case .responses: try answer.json["output"]?[0]?["content"]?[0]?["text"]?.string
      case .messages: try answer.json["content"]?[0]?["text"]?.string
      }
    }
  }

  @Test(
    "a refusal comes as often as it should, in its API's words, and then the next step speaks", arguments: API.allCases)
  func refusals(_ api: API) async throws {
    try await RunningModel.with { model in
      let script = JSONValue.script(["error": 429, "times": 2], ["text": "made it"])
      for _ in 0..<2 {
        let refused = try await api.ask(model, script)
        #expect(refused.status == 429 && refused.isScripted)
        let json = try refused.json
        #expect(json["error"]?["type"] == "rate_limit_error" && json["error"]?["code"] == "rate_limit_exceeded")
        #expect(json["type"] == (api == .messages ? "error" : nil))
      }
      let spoken = try await api.ask(model, script)
      #expect(spoken.status == 200)
      #expect(try api.text(spoken) == "made it")
      // Another conversation has its own refusals.
      #expect(try await api.ask(model, script, conversation: "b").status == 429)
    }
  }

  @Test("refusals one after the other are each given, and none is given twice", arguments: API.allCases)
  func refusalsInARow(_ api: API) async throws {
    try await RunningModel.with { model in
      let script = JSONValue.script(
        ["error": 500, "times": 1], ["error": 429, "times": 2], ["error": 503, "times": 1, "text": "made it"])
      var statuses: [UInt] = []
      for _ in 0..<6 { statuses.append(try await api.ask(model, script).status) }
      #expect(statuses == [500, 429, 429, 503, 200, 200])
    }
  }

  @Test("a step after a refusal is spoken once, however many steps follow")
  func stepsAfterARefusal() {
    let script = Script(#"[[{"steps":[{"error":500,"times":1},{"shell":"a"},{"error":500,"times":1},{"text":"b"}]}]]"#)
    func step(_ spoken: Int, _ refused: [Int: Int]) -> Int {
      var request = ModelRequest(responses: nil, bytes: 0)
      request.step = spoken
      return script.utterance(request) { refused[$0] ?? 0 }.step
    }
    #expect(step(0, [:]) == 0)
    #expect(step(0, [0: 1]) == 1)
    #expect(step(1, [0: 1]) == 2)
    #expect(step(1, [0: 1, 2: 1]) == 3)
    #expect(step(2, [0: 1, 2: 1]) == 4)
  }

  @Test("a refusal without an end is given for ever, with the words that the script gives it")
  func refusesForEver() async throws {
    try await RunningModel.with { model in
      let script = JSONValue.script([
        "error": 400, "etype": "invalid_request_error", "ecode": "too_long", "emsg": "No.",
      ])
      for _ in 0..<3 {
        let refused = try await model.responses(["input": script])
        #expect(refused.status == 400)
        #expect(
          try refused.json["error"] == ["type": "invalid_request_error", "code": "too_long", "message": "No."])
      }
    }
  }

  @Test("each status has the type that its API gives it", arguments: [401, 403, 404, 429, 500, 529])
  func refusalTypes(_ status: Int) async throws {
    let expected: [Int: String] = [401: "authentication_error", 403: "authentication_error", 429: "rate_limit_error"]
    try await RunningModel.with { model in
      let refused = try await model.responses(["input": .script(["error": JSONValue(status)]), "stream": true])
      #expect(refused.status == UInt(status))
      let type = try refused.json["error"]?["type"]?.string
      #expect(type == expected[status] ?? (status < 500 ? "invalid_request_error" : "server_error"))
    }
  }

  @Test("without a script the model echoes, runs a command, or says that it is scripted", arguments: API.allCases)
  func defaults(_ api: API) async throws {
    try await RunningModel.with { model in
      #expect(try await api.text(api.ask(model, "Reply PONG")) == "PONG")
      #expect(try await api.text(api.ask(model, "some context\nReply PONG 2")) == "PONG 2")
      let other = try #require(try await api.text(api.ask(model, "What is the meaning of life?")))
      #expect(other.contains("stand-in model") && other.contains("a script, not an intelligence"))
      let run = try await api.ask(model, "run echo hi").json
      switch api {
      case .responses: #expect(run["output"]?[0]?["arguments"] == #"{"cmd":"echo hi"}"#)
      case .messages: #expect(run["content"]?[0]?["input"]?["command"] == "echo hi")
      }
    }
  }

  @Test("a command that was run without a script is answered with what it printed")
  func ranWithoutScript() async throws {
    let input: JSONValue = [
      ["role": "user", "content": "run echo hi"], ["type": "function_call", "call_id": "c", "name": "exec_command"],
      ["type": "function_call_output", "call_id": "c", "output": "Chunk ID: 1\nOutput:\nhi\n"],
    ]
    let answer = try await RunningModel.with { try await $0.responses(["input": input]).json }
    #expect(answer["output"]?[0]?["content"]?[0]?["text"] == "hi")
  }

  @Test(
    "a script that is none is answered with a sentence that says so",
    arguments: [
      "[[{]]", #"[[{"steps":3}]]"#, #"[[{"step":[]}]]"#, #"[[{"steps":[{"text":"a}]}]]"#, "before [[{oops}]] after",
    ])
  func malformed(_ text: String) async throws {
    try await RunningModel.with { model in
      for api in API.allCases {
        let answer = try await api.ask(model, .string(text))
        #expect(answer.status == 200)
        #expect(try api.text(answer) == "The script between [[ and ]] is not JSON with a list of steps.")
      }
    }
  }

  @Test(
    "a script that asks for the absurd does not end the program, which may be the server itself",
    arguments: [
      ["error": 99_999], ["error": -1], ["error": 200], ["error": 100], ["error": "many"],
      ["text": "x", "delay": -1e300],
      ["text": "x", "chunks": 9_223_372_036_854_775_807], ["text": "x", "chunks": -5],
      ["text": "x", "usage": ["in": -9_223_372_036_854_775_808, "cached": 9_223_372_036_854_775_807]],
      ["text": "x", "usage": ["in": 9_223_372_036_854_775_807, "out": 9_223_372_036_854_775_807]],
      ["text": "x", "hang": -1e300], ["error": 500, "times": -1], [:], "no object", ["text": 3],
    ] as [JSONValue])
  func absurd(_ step: JSONValue) async throws {
    try await RunningModel.with { model in
      for stream in [false, true] {
        let responses = try await model.responses(["input": .script(step), "stream": .bool(stream)])
        #expect(responses.status == 200 && responses.isWhole)
        let messages = try await model.messages([
          "messages": [["role": "user", "content": .script(step)]], "stream": .bool(stream),
        ])
        #expect(messages.status == 200 && messages.isWhole)
      }
    }
  }

  @Test("pauses come before what they delay, and one that would never end is an hour")
  func pauses() {
    func frames(_ step: String) -> [Duration] {
      let request = ModelRequest(responses: nil, bytes: 0)
      let utterance = Script("[[{\"steps\":[\(step)]}]]").utterance(request) { _ in 0 }.utterance
      return ResponsesAnswer.write(utterance, request, number: 1).frames.map(\.pause)
    }
    let zero = Duration.zero
    #expect(frames(#"{"text":"ab","chunks":2,"hang":5}"#) == [zero, .seconds(5)] + Array(repeating: zero, count: 7))
    #expect(
      frames(#"{"text":"ab","chunks":2,"delay":0.5}"#)
        == [zero, zero, zero, .milliseconds(500), .milliseconds(500), zero, zero, zero, zero])
    #expect(frames(#"{"text":"a","hang":1e300}"#)[1] == .seconds(3600))
  }

  @Test("a text is cut into pieces of about the same length, none of which is lost")
  func pieces() {
    #expect(Script.pieces("abcdefg", 3) == ["ab", "cd", "efg"])
    #expect(Script.pieces("ab", 5) == ["a", "b"])
    #expect(Script.pieces("", 3) == [""])
    #expect(Script.pieces("a👨‍👩‍👧é", 3) == ["a", "👨‍👩‍👧", "é"])
  }
}
