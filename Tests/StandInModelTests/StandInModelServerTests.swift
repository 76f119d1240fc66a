import SessionModel
import Testing

/// What harnesses ask of a model's server beside answers, and what tests ask of this one.
@Suite(.timeLimit(.minutes(30)))
struct StandInModelServerTests {
  @Test("the list of models says that a script speaks")
  func models() async throws {
    let answer = try await RunningModel.with { try await $0.request("GET", "/v1/models") }
    #expect(answer.status == 200 && answer.isScripted)
    #expect(try answer.json["data"]?[0]?["owned_by"] == "a script, not an intelligence")
  }

  @Test("tokens are counted")
  func countTokens() async throws {
    try await RunningModel.with { model in
      let body: JSONValue = ["messages": [["role": "user", "content": .string(String(repeating: "a", count: 4000))]]]
      let answer = try await model.request("POST", "/v1/messages/count_tokens", body.serialized)
      #expect(answer.isScripted)
      #expect(try #require(try answer.json["input_tokens"]?.int) > 1000)
      #expect(try await model.request("POST", "/v1/messages/count_tokens", Array("{}".utf8)).json["input_tokens"] == 1)
    }
  }

  @Test(
    "a body that is no JSON gets the answer of a model that understood nothing", arguments: ["{", "", "[1,2]", "null"])
  func noJSON(_ body: String) async throws {
    try await RunningModel.with { model in
      let responses = try await model.request("POST", "/v1/responses", Array(body.utf8))
      #expect(responses.status == 200)
      #expect(try responses.json["output"]?[0]?["content"]?[0]?["text"]?.string?.contains("stand-in") == true)
      let messages = try await model.request("POST", "/v1/messages", Array(body.utf8))
      #expect(messages.status == 200)
      #expect(try messages.json["content"]?[0]?["text"]?.string?.contains("stand-in") == true)
    }
  }

  @Test("what was asked is remembered as it came, and forgotten when it is told to")
  func requests() async throws {
    try await RunningModel.with { model in
      let body: JSONValue = ["z": 1, "input": "Reply PONG", "a": 2]
      _ = try await model.responses(body)
      _ = try await model.messages(["messages": []])
      let asked = try #require(try await model.request("GET", "/requests").json["data"])
      #expect(asked.array?.map { $0["path"] } == ["/v1/responses", "/v1/messages"])
      #expect(asked[0]?["body"]?.text == body.text)
      #expect(asked[0]?["headers"]?["connection"] == "close")
      #expect(try await model.request("DELETE", "/requests").status == 204)
      #expect(try await model.request("GET", "/requests").json["data"] == [])
    }
  }

  @Test("as many requests as are remembered is bounded, the newest stay")
  func bounded() async throws {
    try await RunningModel.with { model in
      for number in 0..<205 { _ = try await model.responses(["input": "x", "n": JSONValue(number)]) }
      let asked = try #require(try await model.request("GET", "/requests").json["data"]?.array)
      #expect(asked.count == 200)
      #expect(asked.first?["body"]?["n"] == 5 && asked.last?["body"]?["n"] == 204)
    }
  }

  @Test("a path that there is not is not found")
  func notFound() async throws {
    #expect(try await RunningModel.with { try await $0.request("GET", "/v1/nothing").status } == 404)
  }
}
