import ControlPlane
import SessionModel
import Testing

/// What happens to a turn that runs or waits when the client wants something else.
struct BusyTests {
  private static func cli(_ text: String, _ turn: Int) throws -> TurnRequest {
    try .cli([.said(text, "m\(turn)")], key: "test:a", turn: "t\(turn)")
  }

  private static func interrupt(_ world: World, _ reason: String = "test") async throws -> ExecutionID {
    try await world.controlPlane.interrupt(owner: .local, key: ThreadKey("test:a"), reason: reason).id
  }

  @Test("a CLI's new input takes the place of its running turn")
  func supersede() async throws {
    try await World.run { world in
      let first = try await world.submit(Self.cli("say holding; hold", 1))
      try await world.wait("test:a") { $0.isMessage("holding") }
      let second = try await world.submit(Self.cli("say instead", 2))
      #expect(try await second.finished().texts == ["instead"])
      #expect(try await first.finished().ends == ["cancelled (superseded)"])
      #expect(try await world.log("test:a").sandboxes == [.cold])
    }
  }

  @Test(
    "the input that takes the place of a turn that does not obey is given to another process, not to the doomed one")
  func supersedeDisobedient() async throws {
    try await World.run { world in
      let first = try await world.submit(Self.cli("deaf; say holding; hold", 1))
      try await world.wait("test:a") { $0.isMessage("holding") }
      let second = try await world.submit(Self.cli("count done; say instead", 2))
      #expect(try await second.finished().texts == ["instead"])
      #expect(try await first.finished().ends == ["cancelled (superseded)"])
      #expect(try await world.log("test:a").sandboxes.count == 2)
      #expect(try await world.lines("done", of: "test:a").count == 1)
    }
  }

  @Test("a CLI's new input takes the place of turns that wait")
  func supersedeQueued() async throws {
    try await World.run(.init(sandboxes: 1)) { world in
      let other = try await world.submit(.sdk("gate go", key: "test:other"))
      try await world.wait("test:other") { $0.isCommandStart }
      let first = try await world.submit(Self.cli("count done", 1))
      let second = try await world.submit(Self.cli("say instead", 2))
      #expect(try await first.finished().ends == ["cancelled (superseded)"])
      try await world.open(gate: "go", of: "test:other")
      _ = try await other.finished()
      #expect(try await second.finished().texts == ["instead"])
      #expect(try await world.log("test:a").started == [second.execution.id])
      #expect(try await world.lines("done", of: "test:a").isEmpty)
    }
  }

  @Test("a program's requests run one after another, in the order in which they came")
  func queue() async throws {
    try await World.run { world in
      let first = try await world.submit(.sdk("gate go; say one", key: "test:a"))
      try await world.wait("test:a") { $0.isCommandStart }
      let second = try await world.submit(.sdk("say two", key: "test:a"))
      let third = try await world.submit(.sdk("say three", key: "test:a"))
      try await world.open(gate: "go", of: "test:a")
      #expect(try await third.finished().texts == ["three"])
      let log = try await world.log("test:a")
      #expect(log.texts == ["one", "two", "three"])
      #expect(log.started == [first, second, third].map(\.execution.id))
      #expect(log.ends == ["completed", "completed", "completed"])
      #expect(log.isDense)
    }
  }

  @Test("a request that does not want to wait is refused while a turn runs or waits, and nothing is written")
  func reject() async throws {
    try await World.run(.init(sandboxes: 1)) { world in
      let other = try await world.submit(.sdk("gate go", key: "test:other"))
      try await world.wait("test:other") { $0.isCommandStart }
      let first = try await world.submit(.sdk("gate on", key: "test:a"))
      let impatient = try TurnRequest.sdk("say no", key: "test:a").with { $0.busy = .reject }
      let whileQueued = await #expect(throws: CentaurError.self) { try await world.submit(impatient) }
      #expect(whileQueued?.code == .sessionBusy)
      try await world.open(gate: "go", of: "test:other")
      _ = try await other.finished()
      try await world.wait("test:a") { $0.isCommandStart }
      let before = try await world.kinds("test:a")
      let whileRunning = await #expect(throws: CentaurError.self) { try await world.submit(impatient) }
      #expect(whileRunning?.code == .sessionBusy)
      #expect(try await world.kinds("test:a") == before)
      try await world.open(gate: "on", of: "test:a")
      _ = try await first.finished()
      #expect(try await world.submit(impatient).finished().texts == ["no"])
    }
  }

  @Test("the client's mark that its user interrupted ends the running turn, whatever else the request wants")
  func abort() async throws {
    try await World.run { world in
      let first = try await world.submit(Self.cli("say holding; hold", 1))
      try await world.wait("test:a") { $0.isMessage("holding") }
      let next = try Self.cli("say next", 2).with { request in
        request.abortsRunningTurn = true
        request.busy = .queue
      }
      let second = try await world.submit(next)
      #expect(try await first.finished().ends == ["cancelled (aborted_by_client)"])
      #expect(try await second.finished().texts == ["next"])
      // The mark stays in the client's history: its retry must not end what runs by then.
      let third = try await world.submit(Self.cli("say three; hold", 3))
      try await world.wait("test:a") { $0.isMessage("three") }
      #expect(try await world.submit(next).execution.id == second.execution.id)
      _ = try await Self.interrupt(world)
      #expect(try await third.finished().ends == ["cancelled (test)"])
    }
  }

  @Test("a running turn is cancelled by whoever asked for it, once")
  func cancelRunning() async throws {
    try await World.run { world in
      let turn = try await world.submit(.sdk("open half; say holding; hold", key: "test:a"))
      try await world.wait("test:a") { $0.isMessage("holding") }
      await world.controlPlane.cancel(turn, reason: "client_disconnected")
      await world.controlPlane.cancel(turn, reason: "again")
      let events = try await turn.finished()
      #expect(events.ends == ["cancelled (client_disconnected)"])
      // What was open is closed, and before the end.
      let half = try #require(events.first { $0.payload.isMessage("half") })
      guard case .itemCompleted(let item) = half.payload else { return }
      #expect(item.status == .incomplete)
    }
  }

  @Test("a waiting turn is cancelled without ever being run, and the running one goes on")
  func cancelQueued() async throws {
    try await World.run { world in
      let first = try await world.submit(.sdk("gate go", key: "test:a"))
      try await world.wait("test:a") { $0.isCommandStart }
      let second = try await world.submit(.sdk("count done", key: "test:a"))
      let third = try await world.submit(.sdk("say three", key: "test:a"))
      await world.controlPlane.cancel(second, reason: "client_disconnected")
      #expect(try await second.finished().ends == ["cancelled (client_disconnected)"])
      try await world.open(gate: "go", of: "test:a")
      #expect(try await first.finished().ends == ["completed"])
      #expect(try await third.finished().ends == ["completed"])
      #expect(try await world.lines("done", of: "test:a").isEmpty)
    }
  }

  @Test("cancelling a turn that is over changes nothing")
  func cancelOver() async throws {
    try await World.run { world in
      let first = try await world.submit(.sdk("say one", key: "test:a"))
      _ = try await first.finished()
      let second = try await world.submit(.sdk("gate go", key: "test:a"))
      try await world.wait("test:a") { $0.isCommandStart }
      await world.controlPlane.cancel(first, reason: "client_disconnected")
      try await world.open(gate: "go", of: "test:a")
      #expect(try await second.finished().ends == ["completed"])
      #expect(try await world.log("test:a").ends(of: first) == ["completed"])
    }
  }

  @Test("interrupting twice ends the turn once; where nothing runs it is an error")
  func interruptTwice() async throws {
    try await World.run { world in
      let turn = try await world.submit(.sdk("say holding; hold", key: "test:a"))
      try await world.wait("test:a") { $0.isMessage("holding") }
      #expect(try await Self.interrupt(world, "first") == turn.execution.id)
      _ = try? await Self.interrupt(world, "second")
      #expect(try await turn.finished().ends == ["cancelled (first)"])
      let error = await #expect(throws: CentaurError.self) { try await Self.interrupt(world) }
      #expect(error?.code == .nothingRunning)
      #expect(try await world.run("say on", key: "test:a").ends == ["completed"])
      #expect(try await world.log("test:a").ends == ["cancelled (first)", "completed"])
    }
  }

  @Test("a harness that does not obey an interrupt loses its process, and the next turn gets another")
  func disobedient() async throws {
    try await World.run { world in
      let turn = try await world.submit(.sdk("deaf; say holding; hold", key: "test:a"))
      try await world.wait("test:a") { $0.isMessage("holding") }
      _ = try await Self.interrupt(world)
      #expect(try await turn.finished().ends == ["cancelled (test)"])
      #expect(try await world.run("say on", key: "test:a").texts == ["on"])
      #expect(try await world.log("test:a").sandboxes.count == 2)
    }
  }
}
