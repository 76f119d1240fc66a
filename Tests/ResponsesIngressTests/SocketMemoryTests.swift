import NIOCore
import SessionModel
import Testing

@testable import ResponsesIngress

/// What a WebSocket remembers of its responses, and how its messages are read.
struct SocketMemoryTests {
  @Test("a warm-up's input is remembered, a response as such, an unknown id not at all")
  func known() {
    var memory = SocketMemory(limit: 100)
    memory.remember("a", .warmUp(input: ["x"], previous: "p"), lane: nil, size: 10)
    memory.remember("b", .response, lane: "l")
    guard case .warmUp(["x"], "p")? = memory["a"], case .response? = memory["b"] else {
      Issue.record("something was forgotten")
      return
    }
    #expect(memory["c"] == nil)
  }

  @Test("a refused continuation forgets its response on the same stream only")
  func evict() {
    var memory = SocketMemory(limit: 100)
    memory.remember("a", .response, lane: "l")
    memory.evict("a", lane: nil)
    #expect(memory["a"] != nil)
    memory.evict("a", lane: "l")
    #expect(memory["a"] == nil)
  }

  @Test("the oldest go where there are too many or they are too large; the newest stays")
  func limits() {
    var memory = SocketMemory(limit: 100)
    for number in 0..<300 { memory.remember("\(number)", .response, lane: nil) }
    #expect(memory["43"] == nil && memory["44"] != nil && memory["299"] != nil)
    memory.remember("large", .warmUp(input: [], previous: nil), lane: nil, size: 60)
    memory.remember("larger", .warmUp(input: [], previous: nil), lane: nil, size: 101)
    #expect(memory["large"] == nil && memory["299"] == nil && memory["larger"] != nil)
    memory.remember("small", .response, lane: nil)
    #expect(memory["larger"] == nil && memory["small"] != nil)
  }

  @Test("an error that can be placed names its stream")
  func refused() {
    let mistakes: [(String, String?)] = [
      (#"{"type":"nothing","stream_id":"l"}"#, "l"), (#"{"stream_id":"l"}"#, "l"), (#"{"type":3}"#, nil),
      (#"{"stream_id":3}"#, nil), ("[]", nil), ("{", nil),
    ]
    for (text, lane) in mistakes {
      let refused = #expect(throws: SocketMessage.Refused.self) { _ = try SocketMessage(ByteBuffer(string: text)) }
      #expect(refused?.lane == lane)
    }
  }

  @Test("an error message has what clients look for, in the places where they look")
  func errors() throws {
    let temporary = CentaurError(.tooManyTurns, "Later.", retryAfter: .seconds(5))
    #expect(
      String(buffer: ResponsesError.message(temporary, stream: "l"))
        == #"{"type":"error","status":503,"error":{"message":"Later.","type":"server_error","code":"too_many_turns","param":null,"headers":{"retry-after":"5"}},"headers":{"retry-after":"5"},"stream_id":"l"}"#
    )
    let unknown = CentaurError(.previousResponseNotFound, "Unknown.", parameter: "previous_response_id")
    #expect(
      String(buffer: ResponsesError.message(unknown))
        == #"{"type":"error","status":400,"error":{"message":"Unknown.","type":"invalid_request_error","code":"previous_response_not_found","param":"previous_response_id"}}"#
    )
  }
}
