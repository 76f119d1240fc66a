import ControlPlane
import SessionModel
import Testing

/// The store fails: nothing is shown that is not stored, and the session is whole again afterwards.
struct StoreFaultTests {
  @Test(
    "a fault in the middle of a turn gives the session up; the next request opens it from the log, and the turn goes on"
  )
  func midTurn() async throws {
    try await World.run { world in
      let request = try TurnRequest.cli(
        [.said("say one; open half; gate go; say two", "m1")], key: "test:a", turn: "t1")
      let turn = try await world.submit(request)
      try await world.wait("test:a") { $0.isCommandStart }
      let shims = try await world.shims(of: "test:a")
      #expect(shims.count == 1)
      world.store.fail(.commit)
      try await world.open(gate: "go", of: "test:a")
      // Who reads the turn sees its stream end without the turn's end: it comes back and asks again.
      await #expect(throws: NoEnd.self) { try await turn.finished() }
      world.store.heal()
      let again = try await world.submit(request)
      #expect(again.execution.id == turn.execution.id)
      let events = try await again.finished()
      #expect(events.ends == ["completed"])
      #expect(events.texts == ["one", "two", "half"])
      #expect(try await world.run("say on", key: "test:a").texts == ["on"])
      let log = try await world.log("test:a")
      #expect(log.isDense)
      #expect(log.ends == ["completed", "completed"])
      // The process of before is still there.
      #expect(try await world.shims(of: "test:a") == shims)
    }
  }

  @Test("a fault at any commit of a turn leaves a log that a retry brings to its one end", arguments: 0..<5)
  func anyCommit(_ number: Int) async throws {
    try await World.run { world in
      let request = try TurnRequest.cli([.said("count done; say one", "m1")], key: "test:a", turn: "t1")
      world.store.fail(.commit, after: number)
      var end: [SessionEvent]?
      if let turn = try? await world.submit(request) { end = try? await turn.finished() }
      world.store.heal()
      if end == nil { end = try await world.submit(request).finished() }
      #expect(end?.ends == ["completed"])
      let log = try await world.log("test:a")
      #expect(log.isDense)
      #expect(log.ends.count == 1)
      #expect(try await world.lines("done", of: "test:a").count == 1)
      #expect(try await world.run("say on", key: "test:a").texts == ["on"])
    }
  }

  @Test("a request that cannot be stored is refused, and the turns before it go on")
  func admission() async throws {
    try await World.run(.init(sandboxes: 1)) { world in
      let other = try await world.submit(.sdk("gate go", key: "test:other"))
      try await world.wait("test:other") { $0.isCommandStart }
      let waiting = try TurnRequest.cli([.said("say one", "m1")], key: "test:a", turn: "t1")
      let first = try await world.submit(waiting)
      world.store.fail(.commit)
      let superseding = try TurnRequest.cli([.said("say two", "m2")], key: "test:a", turn: "t2")
      let error = await #expect(throws: CentaurError.self) { try await world.submit(superseding) }
      #expect(error?.code == .storeUnavailable)
      world.store.heal()
      try await world.open(gate: "go", of: "test:other")
      _ = try await other.finished()
      // The turn that waited is still there: it runs when its client comes back.
      let again = try await world.submit(waiting)
      #expect(again.execution.id == first.execution.id)
      #expect(try await again.finished().texts == ["one"])
    }
  }

  @Test("a read that fails while a harness is started costs no turn: it is started again, and the turn runs")
  func start() async throws {
    try await World.run { world in
      let opened = try await world.controlPlane.openSession(
        owner: .local, key: ThreadKey("test:a"), harness: nil, persona: nil, instructions: nil, origin: "test")
      world.store.fail(.eventsWithoutPieces(opened.session.id))
      let request = try TurnRequest.cli([.said("count done; say one", "m1")], key: "test:a", turn: "t1")
      let turn = try await world.submit(request)
      await #expect(throws: NoEnd.self) { try await turn.finished() }
      world.store.heal()
      let again = try await world.submit(request)
      #expect(again.execution.id == turn.execution.id)
      #expect(try await again.finished().ends == ["completed"])
      #expect(try await world.lines("done", of: "test:a").count == 1)
    }
  }

  @Test("a fault while a session is opened does not leave it half open")
  func recovery() async throws {
    try await World.run { world in
      let request = try TurnRequest.cli([.said("say one; gate go", "m1")], key: "test:a", turn: "t1")
      let turn = try await world.submit(request)
      try await world.wait("test:a") { $0.isCommandStart }
      world.store.fail(.commit)
      try await world.open(gate: "go", of: "test:a")
      await #expect(throws: NoEnd.self) { try await turn.finished() }
      // It is opened while the store still refuses: twice.
      for _ in 0..<2 {
        let error = await #expect(throws: CentaurError.self) { try await world.submit(request) }
        #expect(error?.code == .storeUnavailable)
      }
      world.store.heal()
      #expect(try await world.submit(request).finished().ends == ["completed"])
      #expect(try await world.run("say on", key: "test:a").texts == ["on"])
      #expect(try await world.log("test:a").isDense)
    }
  }

  @Test("a writer that lost the session writes no more, and gives the session up")
  func staleWriter() async throws {
    try await World.run { world in
      let turn = try await world.submit(.sdk("say one", key: "test:a"))
      _ = try await turn.finished()
      _ = try await world.store.acquireLease(
        turn.session.id, holder: "another", now: WallClock.system.now, until: WallClock.system.now + .seconds(60)
      ) { _ in true }
      let error = await #expect(throws: CentaurError.self) {
        try await world.submit(.sdk("say two", key: "test:a"))
      }
      #expect(error?.code == .leaseLost)
      // Asked again it takes the session back, from the log.
      #expect(try await world.run("say three", key: "test:a").texts == ["three"])
      #expect(try await world.log("test:a").texts == ["one", "three"])
    }
  }

  @Test("a fault while a steering message is stored is told to the request, and the session is given up")
  func steering() async throws {
    try await World.run { world in
      let first = try TurnRequest.cli([.said("say holding; hold", "m1")], key: "test:a", turn: "t1")
      let turn = try await world.submit(first)
      try await world.wait("test:a") { $0.isMessage("holding") }
      world.store.fail(.commit)
      let steer = first.with { $0.input.append(.said("say steered", "m2")) }
      await #expect(throws: CentaurError.self) { try await world.submit(steer) }
      world.store.heal()
      let again = try await world.submit(first)
      #expect(again.execution.id == turn.execution.id)
      // The harness has taken what its request was told had failed; the request comes again.
      let said = try await world.submit(steer)
      #expect(said.execution.id == turn.execution.id)
      let events = try await again.finished()
      #expect(events.ends == ["completed"])
      #expect(events.texts == ["holding", "steered"])
    }
  }
}
