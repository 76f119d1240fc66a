import Glibc
import SessionModel
import Testing

@testable import ControlPlane

/// A server finds what an earlier one left.
struct RecoveryTests {
  @Test("a server that vanished leaves a running turn, which ends once, and a waiting one, which is run")
  func vanished() async throws {
    try await World.run(hasServer: false) { world in
      // This one is left as it is: nobody tells it to end. It loses its sessions to the next one.
      let gone = world.startServer("node-2")
      let running = try await gone.controlPlane.submit(.sdk("open half; say one; hold", key: "test:a"))
      try await world.wait("test:a", on: gone.controlPlane) { $0.isMessage("one") }
      let waiting = try await gone.controlPlane.submit(.sdk("count done; say two", key: "test:a"))
      let shims = try await world.shims(of: "test:a")

      let next = world.startServer("node-3")
      try await world.wait("test:a", on: next.controlPlane) { $0.isMessage("two") }
      try await world.wait("test:a", on: next.controlPlane) { if case .executionCompleted = $0 { true } else { false } }
      let log = try await world.log("test:a")
      #expect(log.ends(of: running) == ["failed (server_restarted)"])
      #expect(log.ends(of: waiting) == ["completed"])
      #expect(log.isDense)
      #expect(log.filter { $0.executionID == running.execution.id }.texts == ["one", "half"])
      #expect(try await world.lines("done", of: "test:a").count == 1)
      try await gone.shutDown()
      for shim in shims { #expect(kill(shim, 0) == -1) }
      #expect(try await world.log("test:a").ends(of: running) == ["failed (server_restarted)"])
      try await next.shutDown()
    }
  }

  @Test("a process that waits for its session's next turn does not outlive a server that vanished")
  func idleProcess() async throws {
    try await World.run(hasServer: false) { world in
      let gone = world.startServer("node-2")
      _ = try await gone.controlPlane.submit(.sdk("say one", key: "test:a")).finished()
      let shims = try await world.shims(of: "test:a")
      #expect(shims.count == 1)
      let next = world.startServer("node-3")
      // The one that is gone notices that its process was ended, and may not write about it.
      try await within {
        while try await !world.leftovers(of: "test:a").isEmpty { try await Task.sleep(for: .milliseconds(5)) }
      }
      #expect(try await world.log("test:a").ends == ["completed"])
      let turn = try await next.controlPlane.submit(.sdk("recall", key: "test:a"))
      #expect(try await turn.finished().texts == ["say one"])
      try await gone.shutDown()
      for shim in shims { #expect(kill(shim, 0) == -1) }
      try await next.shutDown()
    }
  }

  @Test("messages that waited for a turn are part of it after a restart")
  func waitingMessages() async throws {
    try await World.run(.init(sandboxes: 1), hasServer: false) { world in
      let gone = world.startServer("node-2")
      let key = try ThreadKey("test:a")
      let other = try await gone.controlPlane.submit(.sdk("say one; hold", key: "test:other"))
      try await world.wait("test:other", on: gone.controlPlane) { $0.isMessage("one") }
      _ = try await gone.controlPlane.openSession(
        owner: .local, key: key, harness: nil, persona: nil, instructions: nil, origin: "session_api")
      for (request, texts) in [("say c", ["say a", "say b"]), ("", ["say d"])] {
        for text in texts { _ = try await gone.controlPlane.append(.said(text), owner: .local, key: key) }
        let execute = try TurnRequest.sdk(request, key: "test:a").with { if request.isEmpty { $0.input = [] } }
        _ = try await gone.controlPlane.execute(execute, key: key)
      }
      try await gone.shutDown()
      #expect(try await world.log("test:other").ends(of: other) == ["failed (server_restarted)"])
      let next = world.startServer("node-3")
      try await world.wait("test:a", on: next.controlPlane) { $0.isMessage("d") }
      #expect(try await world.log("test:a").texts == ["a", "b", "c", "d"])
      try await next.shutDown()
    }
  }

  @Test("one session that cannot be opened does not keep the others from being looked after")
  func oneBroken() async throws {
    try await World.run(hasServer: false) { world in
      let gone = world.startServer("node-2")
      var turns: [AdmittedTurn] = []
      for key in ["test:a", "test:b", "test:c"] {
        let turn = try await gone.controlPlane.submit(.sdk("say one; hold", key: key))
        try await world.wait(key, on: gone.controlPlane) { $0.isMessage("one") }
        turns.append(turn)
      }
      world.store.fail(.openExecutions(turns[0].session.id))
      let next = world.startServer("node-3")
      for key in ["test:b", "test:c"] {
        try await within {
          while try await world.log(key).ends != ["failed (server_restarted)"] {
            try await Task.sleep(for: .milliseconds(5))
          }
        }
      }
      world.store.heal()
      #expect(
        try await next.controlPlane.submit(.sdk("say on", key: "test:a")).finished().texts == ["on"])
      #expect(try await world.log("test:a").ends == ["failed (server_restarted)", "completed"])
      try await next.shutDown()
      try await gone.shutDown()
    }
  }

  @Test("a long message that was cut is closed with all of its text")
  func longMessage() throws {
    var turn = OpenTurn()
    let item = Item(ordinal: 1, status: .inProgress, content: .message(MessageItem()))
    func event(_ payload: EventPayload) -> SessionEvent {
      SessionEvent(
        seq: 1, sessionID: SessionID(rawValue: "s"), executionID: nil, payload: payload,
        createdAt: Timestamp(milliseconds: 0))
    }
    turn.fold(event(.itemStarted(item)))
    for number in 0..<200_000 {
      turn.fold(event(.itemDelta(ItemDelta(ordinal: 1, field: .text, text: "\(number % 10)123456789"))))
    }
    guard case .message(let message)? = turn.openItems.first?.content else {
      Issue.record("the message is not open")
      return
    }
    #expect(turn.openItems.first?.status == .incomplete)
    #expect(message.text.utf8.count == 2_000_000)
  }
}
