import ControlPlane
import FoundationEssentials
import Harness
import Sandbox
import SessionModel
import Testing

/// One turn from request to end, and what happens when the client asks again.
struct TurnTests {
  @Test("a turn's events tell its whole story, in order")
  func story() async throws {
    try await World.run { world in
      let turn = try await world.submit(.cli([.said("say hello; say world", "m1")], key: "test:a", turn: "t1"))
      let events = try await turn.finished()
      #expect(!turn.isReplay)
      #expect(turn.reply.wireID == "resp_\(turn.execution.id)_1")
      #expect(events.texts == ["hello", "world"])
      let log = try await world.log("test:a")
      #expect(
        log.map(\.payload.kind) == [
          "session.created", "message.appended", "execution.queued", "sandbox.ready", "execution.started",
          "item.started", "item.completed", "item.started", "item.completed", "execution.completed",
        ])
      #expect(log.isDense)
      #expect(log.filter { $0.executionID == turn.execution.id } == events)
      #expect(log.sandboxes == [.cold])
      let stored = try #require(try await world.store.execution(turn.execution.id))
      #expect(stored.status == .completed)
      #expect(stored.firstSeq == turn.execution.firstSeq)
      #expect(stored.terminalSeq == log.last?.seq)
    }
  }

  @Test("a session's next turn goes to the same process, which remembers")
  func nextTurn() async throws {
    try await World.run { world in
      _ = try await world.run("say one", key: "test:a")
      let events = try await world.run("recall", key: "test:a")
      #expect(events.texts == ["say one"])
      #expect(try await world.log("test:a").sandboxes == [.cold])
    }
  }

  @Test("a retry shows the turn again from its first event, and the agent has worked once")
  func retryAfterwards() async throws {
    try await World.run { world in
      let request = try TurnRequest.cli([.said("count done; say hello", "m1")], key: "test:a", turn: "t1")
      let first = try await world.submit(request)
      let events = try await first.finished()
      let again = try await world.submit(request)
      #expect(again.isReplay)
      #expect(again.execution.id == first.execution.id)
      #expect(again.reply == first.reply)
      #expect(try await again.finished() == events)
      #expect(try await world.lines("done", of: "test:a").count == 1)
    }
  }

  @Test("a retry attaches to the running turn")
  func retryWhileRunning() async throws {
    try await World.run { world in
      let request = try TurnRequest.cli([.said("count done; gate go; say hello", "m1")], key: "test:a", turn: "t1")
      let first = try await world.submit(request)
      try await world.wait("test:a") { $0.isCommandStart }
      let again = try await world.submit(request)
      #expect(again.isReplay)
      try await world.open(gate: "go", of: "test:a")
      #expect(try await again.finished() == first.finished())
      #expect(try await world.lines("done", of: "test:a").count == 1)
    }
  }

  @Test("a program's retry is known by its idempotency key")
  func retryWithoutIDs() async throws {
    try await World.run { world in
      let request = try TurnRequest.sdk("count done", key: "test:a").with { $0.turnKey = "key:k" }
      let first = try await world.submit(request)
      _ = try await first.finished()
      let again = try await world.submit(request)
      #expect(again.execution.id == first.execution.id)
      #expect(try await world.lines("done", of: "test:a").count == 1)
    }
  }

  @Test("a failed turn whose user asks again is run anew, under the same message")
  func repeated() async throws {
    try await World.run { world in
      let request = try TurnRequest.cli([.said("count done; exit 1", "m1")], key: "test:a", turn: "t1").with {
        $0.turnKey = nil
        $0.repeatsFailedTurns = true
      }
      let first = try await world.submit(request)
      #expect(try await first.finished().ends == ["failed (harness_died)"])
      let second = try await world.submit(request)
      #expect(second.execution.id != first.execution.id)
      #expect(try await second.finished().ends == ["failed (harness_died)"])
      #expect(try await world.lines("done", of: "test:a").count == 2)
      // A client that repeats by itself is shown the newest of them.
      let again = try await world.submit(request.with { $0.repeatsFailedTurns = false })
      #expect(again.execution.id == second.execution.id)
    }
  }

  @Test("a client that missed the end of a turn is shown it")
  func continues() async throws {
    try await World.run { world in
      let turn = try await world.submit(.sdk("say one", key: "test:a"))
      let events = try await turn.finished()
      let asks = try TurnRequest.cli([], key: "test:a", turn: "t1").with { $0.continues = true }
      let again = try await world.submit(asks)
      #expect(again.isReplay)
      #expect(try await again.finished() == events)
    }
  }

  @Test("ten concurrent identical requests run once and all see the same")
  func concurrent() async throws {
    try await World.run { world in
      let request = try TurnRequest.cli([.said("count done; say hello", "m1")], key: "test:a", turn: "t1")
      let answers = try await withThrowingTaskGroup(of: [SessionEvent].self) { group in
        for _ in 0..<10 { group.addTask { try await world.submit(request).finished() } }
        return try await group.reduce(into: []) { $0.append($1) }
      }
      #expect(answers.count == 10)
      #expect(Set(answers).count == 1)
      #expect(try await world.lines("done", of: "test:a").count == 1)
      #expect(try await world.log("test:a").started.count == 1)
    }
  }

  @Test("sessions do not wait for one another")
  func sideBySide() async throws {
    try await World.run { world in
      let waiting = try await world.submit(.sdk("gate go", key: "test:a"))
      try await world.wait("test:a") { $0.isCommandStart }
      #expect(try await world.run("say hello", key: "test:b").ends == ["completed"])
      try await world.open(gate: "go", of: "test:a")
      #expect(try await waiting.finished().ends == ["completed"])
    }
  }

  @Test("a model of the harness's list runs; another name is noted and the harness's own model runs")
  func models() async throws {
    try await World.run { world in
      func models(_ requested: String) async throws -> [EventPayload] {
        let request = try TurnRequest.sdk("say hello", key: "test:a").with { $0.options.requestedModel = requested }
        return try await world.submit(request).finished().map(\.payload)
      }
      #expect(try await models("m2").contains(.executionStarted(model: "m2")))
      let other = try await models("gpt-99")
      #expect(other.contains(.executionStarted(model: "m1")))
      #expect(other.contains { if case .warning("model_not_available", _) = $0 { true } else { false } })
    }
  }

  @Test("a conversation that a client brings along is told to the harness first")
  func seeded() async throws {
    try await World.run { world in
      let request = try TurnRequest.cli([.said("recall", "m3")], key: "test:a", turn: "t1").with { request in
        request.hasHistory = true
        request.history = { [.said("what is it", "m1"), Message(role: .assistant, parts: [.text("a cat")])] }
      }
      #expect(try await world.submit(request).finished().texts == ["user: what is it | assistant: a cat"])
      // What was history then is not input now.
      let repeated = try TurnRequest.cli([.said("what is it", "m1")], key: "test:a", turn: "t9")
      await #expect(throws: CentaurError.self) { try await world.submit(repeated) }
    }
  }

  @Test("an answer is continued by its id, and an unknown id is refused")
  func continuing() async throws {
    try await World.run { world in
      let first = try await world.submit(.sdk("say one", key: "test:a"))
      _ = try await first.finished()
      let next = try TurnRequest.sdk("recall", key: "test:unused")
        .with { $0.session = .continuing(replyID: first.reply.wireID) }
      let second = try await world.submit(next)
      #expect(second.session.id == first.session.id)
      #expect(try await second.finished().texts == ["say one"])
      let unknown = next.with { $0.session = .continuing(replyID: "resp_0_1") }
      let error = await #expect(throws: CentaurError.self) { try await world.submit(unknown) }
      #expect(error?.code == .previousResponseNotFound)
    }
  }

  @Test("a session without a name gets one of its own")
  func fresh() async throws {
    try await World.run { world in
      let request = try TurnRequest.sdk("say hello", key: "test:unused").with { $0.session = .fresh }
      let first = try await world.submit(request)
      let second = try await world.submit(request)
      #expect(first.session.key.rawValue.hasPrefix("api:"))
      #expect(first.session.key != second.session.key)
      #expect(try await first.finished().ends == ["completed"])
      #expect(try await second.finished().ends == ["completed"])
    }
  }

  @Test("a harness that serves one turn a process keeps the conversation")
  func oneTurnAProcess() async throws {
    try await World.run(harnesses: [.init(name: World.scripted, lifetime: .turn)]) { world in
      _ = try await world.run("say one; count done", key: "test:a")
      #expect(try await world.run("recall", key: "test:a").texts == ["say one; count done"])
      #expect(try await world.lines("done", of: "test:a").count == 1)
      #expect(try await world.log("test:a").sandboxes == [.cold, .resumed])
    }
  }

  @Test("a persona's workspace is copied for each session")
  func persona() async throws {
    let template = "/tmp/centaur-template-\(UInt32.random(in: 0 ... .max))"
    try FileManager.default.createDirectory(atPath: template, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: template) }
    #expect(FileManager.default.createFile(atPath: "\(template)/rules", contents: Data("be kind\n".utf8)))
    try await World.run(personas: ["clerk": .init(workspace: .template(template))]) { world in
      for key in ["test:a", "test:b"] {
        let request = try TurnRequest.sdk("count rules", key: key).with { $0.persona = "clerk" }
        _ = try await world.submit(request).finished()
        #expect(try await world.lines("rules", of: key) == ["be kind", "x"])
      }
    }
  }

  @Test("a workspace whose template cannot be copied is not left half made")
  func brokenPersona() async throws {
    try await World.run(personas: ["clerk": .init(workspace: .template("/nonexistent/template"))]) { world in
      let request = try TurnRequest.sdk("say hello", key: "test:a").with { $0.persona = "clerk" }
      for _ in 0..<2 {
        #expect(try await world.submit(request).finished().ends == ["failed (workspace_failed)"])
      }
    }
  }
}
