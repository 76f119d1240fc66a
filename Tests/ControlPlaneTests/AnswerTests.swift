import ControlPlane
import SessionModel
import Testing

/// A turn whose answer is to follow a schema. A failure here means that a program is not told that what it got is not
/// what it asked for, or is told so of an answer that is right.
struct AnswerTests {
  private static func request(_ text: String, needs name: String) throws -> TurnRequest {
    try .sdk(text, key: "test:a").with {
      $0.options.outputSchema = ["type": "object", "required": [.string(name)]]
    }
  }

  /// What the log says of the end of a turn's newest answer: its warning, where there is one, and its end.
  private static func ends(_ events: [SessionEvent]) -> [String] {
    events.compactMap { event in
      switch event.payload {
      case .warning(EventPayload.answerMisfitCode, let message): message
      case .executionCompleted: "completed"
      case .executionCancelled: "cancelled"
      default: nil
      }
    }
  }

  @Test("the last message counts, and what is wrong with it is in the log before the turn's end")
  func isTold() async throws {
    try await World.run { world in
      let wrong = try await world.submit(Self.request(#"say {"n":1}; say Done."#, needs: "n")).finished()
      #expect(Self.ends(wrong) == ["The answer does not fit the schema: it is not JSON.", "completed"])
      let right = try await world.submit(Self.request(#"say Now.; say {"n":1}"#, needs: "n")).finished()
      #expect(Self.ends(right) == ["completed"])
      let none = try await world.submit(Self.request("count x", needs: "n")).finished()
      #expect(Self.ends(none) == ["The answer does not fit the schema: it is not JSON.", "completed"])
      #expect(Self.ends(try await world.run("say Done.", key: "test:a")) == ["completed"])
    }
  }

  @Test(
    "an answer that was given before the server vanished is held against the schema by the next one",
    arguments: [
      ("n", ["completed"]), ("m", ["The answer does not fit the schema: it lacks 'm'.", "completed"]),
    ])
  func afterRestart(_ name: String, _ ends: [String]) async throws {
    try await World.run(hasServer: false) { world in
      let gone = world.startServer("node-2")
      let turn = try await gone.controlPlane.submit(Self.request(#"say {"n":1}; gate go"#, needs: name))
      try await world.wait("test:a", on: gone.controlPlane) { $0.isCommandStart }
      try await gone.shutDown()
      let next = world.startServer("node-3")
      try await world.wait("test:a", on: next.controlPlane) { $0.isReattached }
      try await world.open(gate: "go", of: "test:a")
      let log = try await world.waitForEnds(1, of: "test:a")
      #expect(Self.ends(log.filter { $0.executionID == turn.execution.id }) == ends)
      try await next.shutDown()
    }
  }
}
