import SessionModel
import Testing

/// Numbers of tokens are said by others, and end up in sums.
struct TokenCountTests {
  @Test("no number of tokens makes a sum run over")
  func sums() throws {
    let most = Usage(input: .max, cachedInput: .max, output: .max, reasoning: .max)
    var turn = TurnUsage()
    for _ in 0..<5 { turn.add(most) }
    #expect(turn.sum.total == 2 * Usage.maximum && turn.modelCalls == 5)
    let event = EventPayload.executionCompleted(turn)
    #expect(try EventPayload(kind: event.kind, json: event.json) == event)
  }

  @Test("nothing costs less than nothing")
  func negative() { #expect(Usage(input: -1, cachedInput: .min, output: -5, reasoning: -7) == Usage()) }
}
