import ControlPlane
import SessionModel
import Testing

/// A client adds to its running turn: the same turn key, and one more message.
struct SteeringTests {
  private static func first(_ text: String) throws -> TurnRequest {
    try .cli([.said(text, "m1")], key: "test:a", turn: "t1")
  }

  @Test("where a request asks for it, any message steers a turn that runs, and begins one where none does")
  func policy() async throws {
    try await World.run { world in
      func steering(_ text: String) throws -> TurnRequest { try .sdk(text, key: "test:a").with { $0.busy = .steer } }
      let turn = try await world.submit(steering("say holding; hold"))
      try await world.wait("test:a") { $0.isMessage("holding") }
      let steered = try await world.submit(steering("say steered"))
      #expect(steered.execution.id == turn.execution.id)
      #expect(try await turn.finished().texts == ["holding", "steered"])
      #expect(try await world.submit(steering("say next")).finished().texts == ["next"])
    }
  }
}
