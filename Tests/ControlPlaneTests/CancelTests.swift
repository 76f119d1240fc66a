import ControlPlane
import SessionModel
import Testing

/// Ending a turn: whatever is asked twice ends one turn, once, also where the server ended in between.
struct CancelTests {
  private static let key = "test:a"

  private static func interrupt(
    _ plane: ControlPlane, _ execution: ExecutionID? = nil, repeatKey: String? = nil, of key: String = key
  ) async throws -> Execution {
    try await plane.interrupt(
      owner: .local, key: ThreadKey(key), execution: execution, repeatKey: repeatKey, reason: "test")
  }

  private static func code(_ body: () async throws -> Void) async -> CentaurError.Code? {
    do { try await body() } catch { return (error as? CentaurError)?.code }
    return nil
  }

  /// A turn that runs, and one behind it.
  private static func two(_ world: World) async throws -> (first: AdmittedTurn, second: AdmittedTurn) {
    let first = try await world.submit(.sdk("say holding; hold", key: key))
    try await world.wait(key) { $0.isMessage("holding") }
    return (first, try await world.submit(.sdk("gate go; say two", key: key)))
  }

  @Test("an interrupt ends the turn that waits for its place where nothing runs")
  func waiting() async throws {
    try await World.run(.init(sandboxes: 1)) { world in
      let other = try await world.submit(.sdk("gate go", key: "test:other"))
      try await world.wait("test:other") { $0.isCommandStart }
      let first = try await world.submit(.sdk("count done", key: Self.key))
      let second = try await world.submit(.sdk("say two", key: Self.key))
      let ended = try await Self.interrupt(world.controlPlane)
      #expect(ended.id == first.execution.id)
      #expect(ended.status == .cancelled)
      #expect(try await first.finished().ends == ["cancelled (test)"])
      try await world.open(gate: "go", of: "test:other")
      _ = try await other.finished()
      #expect(try await second.finished().texts == ["two"])
      #expect(try await world.lines("done", of: Self.key).isEmpty)
    }
  }

  @Test("the only turn that waits is ended, and nobody starts a process for it")
  func onlyOneWaiting() async throws {
    try await World.run(.init(sandboxes: 1)) { world in
      let other = try await world.submit(.sdk("gate go", key: "test:other"))
      try await world.wait("test:other") { $0.isCommandStart }
      let turn = try await world.submit(.sdk("count done", key: Self.key))
      #expect(try await Self.interrupt(world.controlPlane).id == turn.execution.id)
      #expect(await Self.code { _ = try await Self.interrupt(world.controlPlane) } == .nothingRunning)
      try await world.open(gate: "go", of: "test:other")
      _ = try await other.finished()
      #expect(try await world.run("say on", key: Self.key).texts == ["on"])
      #expect(try await world.log(Self.key).started.count == 1)
    }
  }

  @Test("an interrupt of a named turn ends that one, wherever it stands, and no other")
  func named() async throws {
    try await World.run { world in
      let (first, second) = try await Self.two(world)
      let third = try await world.submit(.sdk("say three", key: Self.key))
      #expect(try await Self.interrupt(world.controlPlane, second.execution.id).status == .cancelled)
      #expect(try await Self.interrupt(world.controlPlane, first.execution.id).id == first.execution.id)
      #expect(try await third.finished().texts == ["three"])
      for turn in [first, second] { #expect(try await turn.finished().ends == ["cancelled (test)"]) }
    }
  }

  @Test("an interrupt of a turn that is over tells how it ended and changes nothing, also for the one behind it")
  func over() async throws {
    try await World.run { world in
      let (first, second) = try await Self.two(world)
      _ = try await Self.interrupt(world.controlPlane, first.execution.id)
      _ = try await first.finished()
      try await world.wait(Self.key) { $0.isCommandStart }
      let before = try await world.kinds(Self.key)
      let again = try await Self.interrupt(world.controlPlane, first.execution.id)
      #expect(again.status == .cancelled)
      #expect(again.id == first.execution.id)
      #expect(try await world.kinds(Self.key) == before)
      try await world.open(gate: "go", of: Self.key)
      #expect(try await second.finished().ends == ["completed"])
      #expect(try await Self.interrupt(world.controlPlane, second.execution.id).status == .completed)
    }
  }

  @Test("a turn that is not there, or another session's, cannot be interrupted")
  func unknown() async throws {
    try await World.run { world in
      let other = try await world.submit(.sdk("gate go", key: "test:other"))
      try await world.wait("test:other") { $0.isCommandStart }
      _ = try await world.run("say one", key: Self.key)
      for id in [ExecutionID(rawValue: "nowhere"), other.execution.id] {
        #expect(await Self.code { _ = try await Self.interrupt(world.controlPlane, id) } == .executionNotFound)
      }
      try await world.open(gate: "go", of: "test:other")
      #expect(try await other.finished().ends == ["completed"])
    }
  }

  @Test("an interrupt that is repeated under its key stands for the turn that it ended, not for the one behind it")
  func repeated() async throws {
    try await World.run { world in
      let (first, second) = try await Self.two(world)
      #expect(try await Self.interrupt(world.controlPlane, repeatKey: "k").id == first.execution.id)
      _ = try await first.finished()
      try await world.wait(Self.key) { $0.isCommandStart }
      let again = try await Self.interrupt(world.controlPlane, repeatKey: "k")
      #expect(again.id == first.execution.id)
      #expect(again.status == .cancelled)
      let conflict = await Self.code {
        _ = try await Self.interrupt(world.controlPlane, second.execution.id, repeatKey: "k")
      }
      #expect(conflict == .idempotencyConflict)
      try await world.open(gate: "go", of: Self.key)
      #expect(try await second.finished().ends == ["completed"])
      #expect(try await Self.interrupt(world.controlPlane, repeatKey: "k").status == .cancelled)
      #expect(await Self.code { _ = try await Self.interrupt(world.controlPlane, repeatKey: "l") } == .nothingRunning)
    }
  }

  @Test("the key of an interrupt is known by the next server")
  func repeatedAfterRestart() async throws {
    try await World.run(hasServer: false) { world in
      let node = world.startServer("node-1")
      let turn = try await node.controlPlane.submit(.sdk("say holding; hold", key: Self.key))
      try await world.wait(Self.key, on: node.controlPlane) { $0.isMessage("holding") }
      _ = try await Self.interrupt(node.controlPlane, repeatKey: "k")
      _ = try await turn.finished()
      try await node.shutDown()
      let next = world.startServer("node-2")
      let running = try await next.controlPlane.submit(.sdk("gate go; say two", key: Self.key))
      let again = try await Self.interrupt(next.controlPlane, repeatKey: "k")
      #expect(again.id == turn.execution.id)
      try await world.open(gate: "go", of: Self.key)
      #expect(try await running.finished().ends == ["completed"])
      try await next.shutDown()
    }
  }

  @Test("what was ended before the server was is ended for the next one too, and is not run by it")
  func waitingAfterRestart() async throws {
    try await World.run(.init(sandboxes: 1), hasServer: false) { world in
      let node = world.startServer("node-1")
      _ = try await node.controlPlane.submit(.sdk("hold", key: "test:other"))
      let turn = try await node.controlPlane.submit(.sdk("count done", key: Self.key))
      _ = try await Self.interrupt(node.controlPlane)
      try await node.shutDown()
      // The turn that holds is taken over and keeps its place.
      let next = world.startServer("node-2") { $0.limits.sandboxes = 2 }
      #expect(try await Self.interrupt(next.controlPlane, turn.execution.id).status == .cancelled)
      _ = try await next.controlPlane.submit(.sdk("say on", key: Self.key)).finished()
      #expect(try await world.lines("done", of: Self.key).isEmpty)
      #expect(try await world.log(Self.key).ends == ["cancelled (test)", "completed"])
      try await next.shutDown()
    }
  }
}
