import ControlPlane
import SessionModel
import Testing

/// A client adds to its running turn: the same turn key, and one more message.
struct SteeringTests {
  private static func first(_ text: String) throws -> TurnRequest {
    try .cli([.said(text, "m1")], key: "test:a", turn: "t1")
  }

  @Test("a running turn hears a steering message and answers it in its own stream")
  func taken() async throws {
    try await World.run { world in
      let first = try Self.first("say holding; hold")
      let turn = try await world.submit(first)
      try await world.wait("test:a") { $0.isMessage("holding") }
      let steer = first.with { $0.input.append(.said("say steered", "m2")) }
      let steered = try await world.submit(steer)
      #expect(steered.execution.id == turn.execution.id)
      #expect(steered.reply.wireID == "resp_\(turn.execution.id)_2")
      #expect(!steered.isReplay)
      let events = try await steered.finished()
      #expect(events.texts == ["holding", "steered"])
      #expect(events.map(\.payload).contains(.messageAppended(.said("say steered", "m2"))))
      #expect(try await turn.finished() == events)
      // And its retry is shown the same turn.
      let again = try await world.submit(steer)
      #expect(again.isReplay)
      #expect(again.execution.id == turn.execution.id)
      #expect(try await world.log("test:a").started.count == 1)
    }
  }

  @Test(
    "one that goes on from a response is known by its Idempotency-Key also when the session has gone on behind that")
  func goneOn() async throws {
    try await World.run { world in
      let turn = try await world.submit(.sdk("say holding; hold", key: "test:a"))
      try await world.wait("test:a") { $0.isMessage("holding") }
      let steer = try TurnRequest.sdk("count done; say steered", key: "test:unused").with {
        $0.session = .continuing(replyID: turn.reply.wireID)
        ($0.busy, $0.turnKey) = (.steer, "key:K3")
      }
      let steered = try await world.submit(steer)
      #expect(try await steered.finished().texts == ["holding", "steered"])
      _ = try await world.run("say next", key: "test:a")
      let again = try await world.submit(steer)
      #expect(again.isReplay && again.reply.wireID == steered.reply.wireID, "it is no branch")
      #expect(try await world.lines("done", of: "test:a") == ["x"])
    }
  }

  @Test("a program's steering message is known by its Idempotency-Key: sent again it is heard once, answered or not")
  func repeated() async throws {
    try await World.run { world in
      let turn = try await world.submit(.sdk("say holding; gate go; hold", key: "test:a"))
      try await world.wait("test:a") { $0.isCommandStart }
      let steer = try TurnRequest.sdk("count done; say steered; hold", key: "test:a").with {
        $0.busy = .steer
        $0.turnKey = "key:K2"
      }
      // The harness does not read before its gate is open.
      async let answers = [world.submit(steer), world.submit(steer)]
      try await world.waitForInputs(3, of: "test:a")
      try await world.open(gate: "go", of: "test:a")
      for steered in try await answers { #expect(steered.execution.id == turn.execution.id) }
      try await world.wait("test:a") { $0.isMessage("steered") }
      let again = try await world.submit(steer)
      #expect(again.isReplay && again.execution.id == turn.execution.id)
      _ = try await world.controlPlane.interrupt(owner: .local, key: ThreadKey("test:a"), reason: "test")
      #expect(try await again.finished().texts == ["holding", "steered"])
      #expect(try await world.lines("done", of: "test:a").count == 1)
    }
  }

  @Test("a steering message that the harness refuses is a turn of its own, and a retry finds that one")
  func refused() async throws {
    try await World.run { world in
      let first = try Self.first("steering refused; say holding; hold")
      let turn = try await world.submit(first)
      try await world.wait("test:a") { $0.isMessage("holding") }
      let steer = first.with { $0.input.append(.said("count done; say late", "m2")) }
      let own = try await world.submit(steer)
      #expect(own.execution.id != turn.execution.id)
      _ = try await world.controlPlane.interrupt(owner: .local, key: ThreadKey("test:a"), reason: "test")
      #expect(try await turn.finished().ends == ["cancelled (test)"])
      #expect(try await own.finished().texts == ["late"])
      let again = try await world.submit(steer)
      #expect(again.isReplay)
      #expect(again.execution.id == own.execution.id)
      #expect(try await world.lines("done", of: "test:a").count == 1)
    }
  }

  @Test("a steering message that comes when the turn is over is a turn of its own")
  func afterwards() async throws {
    try await World.run { world in
      let first = try Self.first("say one")
      let turn = try await world.submit(first)
      _ = try await turn.finished()
      let steer = first.with { $0.input.append(.said("say two", "m2")) }
      let own = try await world.submit(steer)
      #expect(own.execution.id != turn.execution.id)
      #expect(try await own.finished().texts == ["two"])
      let again = try await world.submit(steer)
      #expect(again.execution.id == own.execution.id)
      // The first request's own retry still finds the first turn.
      #expect(try await world.submit(first).execution.id == turn.execution.id)
    }
  }

  @Test("a turn that waits for its sandbox hears a steering message when it starts")
  func whileQueued() async throws {
    try await World.run(.init(sandboxes: 1)) { world in
      let other = try await world.submit(.sdk("gate go", key: "test:other"))
      try await world.wait("test:other") { $0.isCommandStart }
      let first = try Self.first("say one")
      let turn = try await world.submit(first)
      let steer = first.with { $0.input.append(.said("say two", "m2")) }
      let steered = try await world.submit(steer)
      #expect(steered.execution.id == turn.execution.id)
      #expect(try await world.submit(steer).isReplay)
      try await world.open(gate: "go", of: "test:other")
      _ = try await other.finished()
      #expect(try await turn.finished().texts == ["one", "two"])
      #expect(try await world.log("test:a").ends == ["completed"])
    }
  }

  @Test("requests that wait for the harness's answer to a steering message are answered when its process dies")
  func unanswered() async throws {
    try await World.run { world in
      let first = try Self.first("steering unanswered; pid harness; hold")
      let turn = try await world.submit(first)
      try await world.wait("test:a") { $0.isMessage("harness") }
      let steer = first.with { $0.input.append(.said("count done; say late", "m2")) }
      // The client loses its connection and asks again before the harness has answered.
      let requests = (0..<5).map { _ in Task { try await world.submit(steer) } }
      try await world.wait("test:a") { $0.isMessage("asked m2") }
      for _ in 0..<100 { await Task.yield() }
      try await world.killHarness("harness", of: "test:a")
      #expect(try await turn.finished().ends == ["failed (harness_died)"])
      var own: Set<ExecutionID> = []
      for request in requests {
        let answer = try await request.value
        #expect(try await answer.finished().texts == ["late"])
        own.insert(answer.execution.id)
      }
      #expect(own.count == 1)
      #expect(!own.contains(turn.execution.id))
      #expect(try await world.lines("done", of: "test:a").count == 1)
    }
  }

  @Test("a second steering message does not say the first one again")
  func twoUnanswered() async throws {
    try await World.run { world in
      let first = try Self.first("steering unanswered; pid harness; hold")
      let turn = try await world.submit(first)
      try await world.wait("test:a") { $0.isMessage("harness") }
      let steerOnce = first.with { $0.input.append(.said("count second", "m2")) }
      let steerTwice = steerOnce.with { $0.input.append(.said("count third", "m3")) }
      let one = Task { try await world.submit(steerOnce) }
      try await world.wait("test:a") { $0.isMessage("asked m2") }
      let two = Task { try await world.submit(steerTwice) }
      try await world.wait("test:a") { $0.isMessage("asked m3") }
      try await world.killHarness("harness", of: "test:a")
      _ = try await turn.finished()
      let answers = [try await one.value, try await two.value]
      for answer in answers { #expect(try await answer.finished().ends == ["completed"]) }
      #expect(try await world.log("test:a").started == [turn.execution.id] + answers.map(\.execution.id))
      #expect(try await world.lines("second", of: "test:a").count == 1)
      #expect(try await world.lines("third", of: "test:a").count == 1)
    }
  }

  @Test("a steering message that the harness never answers becomes a turn when the idle process is ended")
  func unansweredInAnIdleProcess() async throws {
    try await World.run(.init(idleSandbox: .milliseconds(50))) { world in
      let first = try Self.first("steering unanswered; say holding; hold")
      let turn = try await world.submit(first)
      try await world.wait("test:a") { $0.isMessage("holding") }
      let steer = first.with { $0.input.append(.said("say late", "m2")) }
      let request = Task { try await world.submit(steer) }
      try await world.wait("test:a") { $0.isMessage("asked m2") }
      _ = try await world.controlPlane.interrupt(owner: .local, key: ThreadKey("test:a"), reason: "test")
      _ = try await turn.finished()
      #expect(try await request.value.finished().texts == ["late"])
    }
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
