import ControlPlane
import SessionModel
import Testing

/// A user says the same once more because the answer broke off: the work is not done twice.
struct ResendTests {
  private static let key = "test:a"

  /// The same words again, by a client that holds this much of the answer.
  private static func again(_ text: String, held: String?, _ turn: Int = 2) throws -> TurnRequest {
    var request = try TurnRequest.cli([.said(text, "m\(turn)")], key: key, turn: "")
    request.turnKey = nil
    request.heldAnswer = held
    return request
  }

  @Test("the answer is told on where its end never arrived, and the work is done once")
  func brokenOff() async throws {
    try await World.run { world in
      let first = try await world.submit(.sdk("count done; say begun; say all of it", key: Self.key))
      _ = try await first.finished()
      let again = try await world.submit(Self.again("count done; say begun; say all of it", held: "begun"))
      #expect(again.execution.id == first.execution.id)
      #expect(again.isToldOn)
      #expect(try await again.finished().texts == ["begun", "all of it"])
      #expect(try await world.lines("done", of: Self.key).count == 1)
    }
  }

  @Test("where the agent is still at work its turn is followed, not superseded")
  func running() async throws {
    try await World.run { world in
      let text = "say begun; gate go; say all of it"
      let first = try await world.submit(.sdk(text, key: Self.key))
      try await world.wait(Self.key) { $0.isCommandStart }
      let again = try await world.submit(Self.again(text, held: "begun"))
      #expect(again.execution.id == first.execution.id)
      try await world.open(gate: "go", of: Self.key)
      #expect(try await again.finished().ends == ["completed"])
    }
  }

  @Test(
    "it is another turn where the client holds the whole answer, says something else, or had stopped the agent",
    arguments: [("", "all of it ", false), ("", nil, false), ("; say more", "begun", false), ("", "begun", true)])
  func another(_ more: String, _ held: String?, _ isAbort: Bool) async throws {
    try await World.run { world in
      let text = "count done; say begun; say all of it"
      _ = try await world.run(text, key: Self.key)
      let again = try await world.submit(
        Self.again(text + more, held: held).with { $0.abortsRunningTurn = isAbort })
      #expect(!again.isReplay)
      #expect(try await again.finished().ends == ["completed"])
      #expect(try await world.lines("done", of: Self.key).count == 2)
    }
  }

  @Test("a turn that was cancelled is run anew")
  func cancelled() async throws {
    try await World.run { world in
      let first = try await world.submit(.sdk("say begun; hold", key: Self.key))
      try await world.wait(Self.key) { $0.isMessage("begun") }
      await world.controlPlane.cancel(first, reason: "test")
      _ = try await first.finished()
      let again = try await world.submit(Self.again("say begun; hold", held: "begun"))
      #expect(again.execution.id != first.execution.id)
      await world.controlPlane.cancel(again, reason: "test")
      _ = try await again.finished()
    }
  }
}
