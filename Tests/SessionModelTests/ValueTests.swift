import Foundation
import SessionModel
import Synchronization
import Testing

struct UsageTests {
  @Test("the bill is the sum of all model calls, the conversation's size that of the newest")
  func turnUsage() {
    var usage = TurnUsage()
    usage.add(Usage(input: 100, cachedInput: 10, cacheWrite: 70, output: 20, reasoning: 5))
    usage.add(Usage(input: 150, cachedInput: 90, cacheWrite: 7, output: 30, reasoning: 0))
    #expect(usage.last == Usage(input: 150, cachedInput: 90, cacheWrite: 7, output: 30, reasoning: 0))
    #expect(usage.sum == Usage(input: 250, cachedInput: 100, cacheWrite: 77, output: 50, reasoning: 5))
    #expect(usage.sum - usage.last == Usage(input: 100, cachedInput: 10, cacheWrite: 70, output: 20, reasoning: 5))
    #expect(usage.modelCalls == 2)
    #expect(usage.last.total == 180 && usage.sum.total == 300)
  }

  @Test("the session API names each number")
  func json() {
    let usage = Usage(input: 1, cachedInput: 2, cacheWrite: 5, output: 3, reasoning: 4)
    #expect(
      usage.json.text
        == #"{"input_tokens":1,"cached_input_tokens":2,"cache_write_input_tokens":5,"output_tokens":3,"#
        + #""reasoning_tokens":4}"#)
    #expect(TurnUsage(last: usage, sum: usage, modelCalls: 2).json["model_calls"] == 2)
  }

  @Test("what was logged and saved before cache writes were counted is still read")
  func earlier() throws {
    let logged = #"{"input_tokens":1,"cached_input_tokens":2,"output_tokens":3,"reasoning_tokens":4}"#
    let event = try EventPayload(
      kind: "usage.updated", json: ["call": try JSONValue(parsing: logged), "turn": .object(JSONObject())])
    let usage = Usage(input: 1, cachedInput: 2, output: 3, reasoning: 4)
    #expect(event == .usageUpdated(call: usage, turn: TurnUsage()))
    let saved = #"{"input":1,"cachedInput":2,"output":3,"reasoning":4}"#
    #expect(try JSONDecoder().decode(Usage.self, from: Data(saved.utf8)) == usage)
    let written = Usage(input: 9, cacheWrite: 8)
    #expect(try JSONDecoder().decode(Usage.self, from: JSONEncoder().encode(written)) == written)
  }
}

struct IdentifierTests {
  @Test("ids sort by age, so that the newest session is last in every listing by id")
  func sortable() {
    let clock = Mutex<UInt64>(0)
    let source = IdentifierSource(milliseconds: { clock.withLock { $0 } })
    let times: [UInt64] = [0, 1, 15, 16, 255, 65_536, 1_700_000_000_000, 1_700_000_000_001, (1 << 48) - 1]
    let ids = times.map { time in
      clock.withLock { $0 = time }
      return source.session().rawValue
    }
    #expect(ids == ids.sorted())
    #expect(ids.allSatisfy { $0.wholeMatch(of: /[0-9a-f]{32}/) != nil })
    #expect(ids[6].hasPrefix("018bcfe56800"))
  }

  @Test("two ids of the same millisecond are different")
  func unique() {
    let source = IdentifierSource(milliseconds: { 1_700_000_000_000 })
    var ids = Set<String>()
    for _ in 0..<3000 {
      ids.insert(source.session().rawValue)
      ids.insert(source.execution().rawValue)
      ids.insert(source.thread())
    }
    #expect(ids.count == 9000)
  }

  @Test("ids are lower-case hexadecimal, as wire ids are built from them")
  func wireSafe() {
    let id = IdentifierSource(milliseconds: { 0xABCDEF }).execution()
    #expect(id.rawValue.wholeMatch(of: /[0-9a-f]{32}/) != nil)
    #expect(id.description == id.rawValue)
  }
}

struct TimestampTests {
  @Test("a moment moves by a duration, and model APIs see whole seconds")
  func arithmetic() {
    let moment = Timestamp(milliseconds: 1_700_000_000_999)
    #expect(moment.seconds == 1_700_000_000)
    #expect((moment + .seconds(2)).milliseconds == 1_700_000_002_999)
    #expect(moment + .microseconds(1999) == Timestamp(milliseconds: 1_700_000_001_000))
    #expect(moment < moment + .milliseconds(1))
  }

  @Test("lines of a harness's output sort by their place, events of a line by theirs")
  func sources() {
    let sources = [(10, 1), (9, 5), (10, 0)].map { EventSource(offset: $0.0, index: $0.1) }
    #expect(sources.sorted() == [sources[1], sources[2], sources[0]])
  }

  @Test("the newer right to write is the greater one")
  func tokens() {
    #expect(FencingToken(epoch: 1) < FencingToken(epoch: 2))
  }
}

/// The names under which clients know calls.
struct ClientCallIDTests {
  @Test("a call's name in each dialect names the call, and nothing else does")
  func names() {
    let id = ClientCallID(ExecutionID(rawValue: "01a2"), 14)
    #expect(id.description == "call_01a2_14" && id.name("toolu") == "toolu_01a2_14")
    #expect(ClientCallID("call_01a2_14") == id && ClientCallID("toolu_01a2_14") == id)
    for name in [
      "", "call", "call_01a2", "call_01a2_", "call__1", "call_01a2_0", "call_01a2_-1", "call_01a2_01", "call_01a2_+1",
      "call_01a2_1_2", "fc_01a2_1", "call_01a2_1234567890", "call_\(String(repeating: "a", count: 65))_1",
      "toolu_01AbCdEf", "call_a\nb_1", "call_a/b_1", "call_\u{2028}_1", "call_é_1",
    ] {
      #expect(ClientCallID(name) == nil, "\(name)")
    }
  }
}
