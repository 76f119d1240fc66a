import Glibc
import SessionModel
import Testing

@testable import ControlPlane

/// A server finds what an earlier one left.
struct RecoveryTests {
  @Test("a turn goes on when its server vanishes: the harness is taken over, and nothing of it is run or said twice")
  func vanished() async throws {
    try await World.run(hasServer: false) { world in
      // This one is left as it is: nobody tells it to end. It loses its sessions to the next one.
      let gone = world.startServer("node-2")
      let running = try await gone.controlPlane.submit(.sdk("count done; say one; gate go; say three", key: "test:a"))
      try await world.wait("test:a", on: gone.controlPlane) { $0.isCommandStart }
      let waiting = try await gone.controlPlane.submit(.sdk("count done; recall", key: "test:a"))
      let shims = try await world.shims(of: "test:a")

      let next = world.startServer("node-3")
      try await world.wait("test:a", on: next.controlPlane) { $0.isReattached }
      try await world.open(gate: "go", of: "test:a")
      try await world.wait("test:a", on: next.controlPlane) { $0.isMessage("count done; say one; gate go; say three") }
      let log = try await world.waitForEnds(2, of: "test:a")
      #expect(log.ends == ["completed", "completed"])
      #expect(log.ends(of: running) == ["completed"])
      #expect(log.ends(of: waiting) == ["completed"])
      #expect(log.isDense)
      #expect(log.filter { $0.executionID == running.execution.id }.texts == ["one", "three"])
      #expect(try await world.lines("done", of: "test:a").count == 2)
      #expect(log.sandboxes == [.cold])
      #expect(try await world.shims(of: "test:a") == shims)
      try await gone.shutDown()
      // What the earlier one does at its end is no business of the session's any more.
      #expect(try await world.log("test:a") == log)
      #expect(try await next.controlPlane.submit(.sdk("say on", key: "test:a")).finished().texts == ["on"])
      try await next.shutDown()
      for shim in shims { #expect(World.hasEnded(shim)) }
    }
  }

  @Test("what a harness said while no server was there is in the log once, in order, with the turn's end")
  func saidMeanwhile() async throws {
    try await World.run(hasServer: false) { world in
      let gone = world.startServer("node-2")
      let turn = try await gone.controlPlane.submit(.sdk("say one; gate go; many 500; say last", key: "test:a"))
      try await world.wait("test:a", on: gone.controlPlane) { $0.isCommandStart }
      try await gone.shutDown()
      try await world.open(gate: "go", of: "test:a")
      try await world.waitForSpool("say last", of: "test:a")
      let next = world.startServer("node-3")
      let log = try await world.waitForEnds(1, of: "test:a")
      #expect(log.ends(of: turn) == ["completed"])
      #expect(log.texts == ["one"] + (1...500).map { "\($0)" } + ["last"])
      #expect(log.isDense)
      try await next.shutDown()
    }
  }

  @Test(
    "a turn whose sandbox died with the server ends once, after all that its harness had said; the next one goes on")
  func sandboxGone() async throws {
    try await World.run(hasServer: false) { world in
      let gone = world.startServer("node-2")
      let turn = try await gone.controlPlane.submit(.sdk("say one; gate go; say two; gate never", key: "test:a"))
      try await world.wait("test:a", on: gone.controlPlane) { $0.isCommandStart }
      try await gone.shutDown()
      try await world.open(gate: "go", of: "test:a")
      try await world.waitForSpool("gate never", of: "test:a")
      for shim in try await world.shims(of: "test:a") { kill(shim, SIGKILL) }
      let next = world.startServer("node-3")
      let log = try await world.waitForEnds(1, of: "test:a")
      #expect(log.ends(of: turn) == ["failed (sandbox_lost)"])
      #expect(log.texts == ["one", "two"])
      #expect(log.filter(\.payload.isItemStart).count == log.filter(\.payload.isItemEnd).count)
      #expect(try await next.controlPlane.submit(.sdk("say on", key: "test:a")).finished().texts == ["on"])
      try await next.shutDown()
    }
  }

  @Test("a turn that was over in its sandbox before that died is over as it was")
  func overBefore() async throws {
    try await World.run(hasServer: false) { world in
      let gone = world.startServer("node-2")
      let turn = try await gone.controlPlane.submit(.sdk("gate go; say two", key: "test:a"))
      try await world.wait("test:a", on: gone.controlPlane) { $0.isCommandStart }
      try await gone.shutDown()
      try await world.open(gate: "go", of: "test:a")
      try await world.waitForSpool("ended", of: "test:a")
      for shim in try await world.shims(of: "test:a") { kill(shim, SIGKILL) }
      let next = world.startServer("node-3")
      let log = try await world.waitForEnds(1, of: "test:a")
      #expect(log.ends(of: turn) == ["completed"])
      #expect(log.texts == ["two"])
      #expect(
        try await next.controlPlane.submit(.sdk("recall", key: "test:a")).finished().texts
          == ["gate go; say two"])
      try await next.shutDown()
    }
  }

  @Test("an interrupt that was acknowledged is carried out, whoever carries it out")
  func interrupted() async throws {
    try await World.run(hasServer: false) { world in
      let gone = world.startServer("node-2")
      let turn = try await gone.controlPlane.submit(.sdk("say one; gate go; hold", key: "test:a"))
      try await world.wait("test:a", on: gone.controlPlane) { $0.isCommandStart }
      let key = try ThreadKey("test:a")
      let id = try await gone.controlPlane.interrupt(owner: .local, key: key, reason: "interrupted")
      #expect(id.id == turn.execution.id)
      let next = world.startServer("node-3")
      try await world.wait("test:a", on: next.controlPlane) { $0.isReattached }
      try await world.open(gate: "go", of: "test:a")
      #expect(try await world.waitForEnds(1, of: "test:a").ends == ["cancelled (interrupted)"])
      try await gone.shutDown()
      try await next.shutDown()
    }
  }

  @Test("a turn's time goes on over a restart")
  func timeLimit() async throws {
    try await World.run(.init(turn: .milliseconds(1500)), hasServer: false) { world in
      let gone = world.startServer("node-2")
      _ = try await gone.controlPlane.submit(.sdk("say one; hold", key: "test:a"))
      try await world.wait("test:a", on: gone.controlPlane) { $0.isMessage("one") }
      try await gone.shutDown()
      let next = world.startServer("node-3")
      #expect(try await world.waitForEnds(1, of: "test:a").ends == ["failed (turn_time_limit)"])
      try await next.shutDown()
    }
  }

  @Test("a turn may be taken over many times, also in the middle of long output")
  func manyTimes() async throws {
    try await World.run(hasServer: false) { world in
      var node = world.startServer("node-0")
      let script = (1...6).map { "many 200; gate g\($0)" }.joined(separator: "; ") + "; count done; say last"
      _ = try await node.controlPlane.submit(.sdk(script, key: "test:a"))
      for number in 1...6 {
        try await world.wait("test:a", on: node.controlPlane) { $0.isCommandStart("g\(number)") }
        let next = world.startServer("node-\(number)")
        // The gate is opened while nobody, the old one, or the new one listens.
        try await world.open(gate: "g\(number)", of: "test:a")
        try await node.shutDown()
        node = next
      }
      let log = try await world.waitForEnds(1, of: "test:a")
      #expect(log.ends == ["completed"])
      #expect(log.texts == (1...6).flatMap { _ in (1...200).map { "\($0)" } } + ["last"])
      #expect(try await world.lines("done", of: "test:a").count == 1)
      #expect(log.isDense)
      try await node.shutDown()
    }
  }

  @Test("a harness that waits for its session's next turn waits on under the next server")
  func idleProcess() async throws {
    try await World.run(hasServer: false) { world in
      let gone = world.startServer("node-2")
      _ = try await gone.controlPlane.submit(.sdk("say one", key: "test:a")).finished()
      let shims = try await world.shims(of: "test:a")
      #expect(shims.count == 1)
      let next = world.startServer("node-3")
      try await world.wait("test:a", on: next.controlPlane) { $0.isReattached }
      let turn = try await next.controlPlane.submit(.sdk("recall", key: "test:a"))
      #expect(try await turn.finished().texts == ["say one"])
      #expect(try await world.log("test:a").sandboxes == [.cold])
      try await gone.shutDown()
      #expect(try await world.shims(of: "test:a") == shims)
      try await next.shutDown()
      for shim in shims { #expect(World.hasEnded(shim)) }
    }
  }

  @Test("a journal that this version cannot read costs its turn, and nothing else")
  func unreadableJournal() async throws {
    try await World.run(hasServer: false) { world in
      let gone = world.startServer("node-2")
      let turn = try await gone.controlPlane.submit(.sdk("open half; say one; gate go", key: "test:a"))
      try await world.wait("test:a", on: gone.controlPlane) { $0.isCommandStart }
      let shims = try await world.shims(of: "test:a")
      try await gone.shutDown()
      let token = try await world.store.acquireLease(
        turn.session.id, holder: "newer", now: WallClock.system.now, until: WallClock.system.now
      ) { _ in true }
      _ = try await world.store.commit(
        SessionCommit(
          session: turn.session.id, token: token, time: WallClock.system.now,
          harnessJournal: [.restart(Array(#"{"snapshot":{"_0":{"from":"a later version"}}}"#.utf8))]))
      let next = world.startServer("node-3")
      let log = try await world.waitForEnds(1, of: "test:a")
      #expect(log.ends(of: turn) == ["failed (server_restarted)"])
      #expect(log.texts == ["one", "half"])
      for shim in shims { #expect(World.hasEnded(shim)) }
      #expect(try await next.controlPlane.submit(.sdk("say on", key: "test:a")).finished().texts == ["on"])
      try await next.shutDown()
    }
  }

  @Test("a harness that a newer server has left is left to it: the reason is told, and nothing is touched")
  func newerSnapshot() async throws {
    try await World.run(hasServer: false) { world in
      let gone = world.startServer("node-2")
      let turn = try await gone.controlPlane.submit(.sdk("say one; gate go; say two", key: "test:a"))
      try await world.wait("test:a", on: gone.controlPlane) { $0.isCommandStart }
      let shims = try await world.shims(of: "test:a")
      try await gone.shutDown()
      let journal = try await world.store.harnessJournal(turn.session.id).entries
      let newer = journal.map { entry in
        Array(String(decoding: entry, as: UTF8.self).replacing("\"version\":1", with: "\"version\":2").utf8)
      }
      func write(_ entries: [[UInt8]]) async throws {
        let token = try await world.store.acquireLease(
          turn.session.id, holder: "another", now: WallClock.system.now, until: WallClock.system.now
        ) { _ in true }
        _ = try await world.store.commit(
          SessionCommit(
            session: turn.session.id, token: token, time: WallClock.system.now,
            harnessJournal: [.clear] + entries.map { .append($0) }))
      }
      try await write(newer)
      let log = try await world.log("test:a")
      let older = world.startServer("node-3")
      let error = await #expect(throws: CentaurError.self) {
        try await older.controlPlane.submit(.sdk("say no", key: "test:a"))
      }
      #expect(error?.code == .sandboxVersion)
      try await older.shutDown()
      #expect(try await world.log("test:a") == log)
      for shim in shims { #expect(!World.hasEnded(shim)) }
      try await write(journal)
      let next = world.startServer("node-4")
      try await world.open(gate: "go", of: "test:a")
      #expect(try await world.waitForEnds(1, of: "test:a").texts == ["one", "two"])
      try await next.shutDown()
    }
  }

  @Test("a shim that does not answer costs its turn, and neither its session nor the others' recovery")
  func stuckShim() async throws {
    try await World.run(hasServer: false) { world in
      let gone = world.startServer("node-2")
      let turn = try await gone.controlPlane.submit(.sdk("say one; gate never", key: "test:a"))
      try await world.wait("test:a", on: gone.controlPlane) { $0.isCommandStart }
      let shims = try await world.shims(of: "test:a")
      try await gone.shutDown()
      for shim in shims { kill(shim, SIGSTOP) }
      let next = world.startServer("node-3")
      #expect(try await next.controlPlane.submit(.sdk("say on", key: "test:other")).finished().texts == ["on"])
      #expect(try await world.waitForEnds(1, of: "test:a").ends(of: turn) == ["failed (sandbox_lost)"])
      try await next.shutDown()
      for shim in shims { #expect(World.hasEnded(shim)) }
    }
  }

  @Test("a turn that waits when its session's sandbox dies is run in the next one")
  func waitingForDead() async throws {
    try await World.run { world in
      let first = try await world.submit(.sdk("say one; gate go; say two", key: "test:a"))
      try await world.wait("test:a") { $0.isCommandStart }
      let second = try await world.submit(.sdk("count done; say three", key: "test:a"))
      for shim in try await world.shims(of: "test:a") { kill(shim, SIGKILL) }
      #expect(try await first.finished().ends == ["failed (sandbox_lost)"])
      #expect(try await second.finished().texts == ["three"])
      #expect(try await world.lines("done", of: "test:a").count == 1)
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
      #expect(try await world.log("test:other").ends(of: other) == [])
      let next = world.startServer("node-3")
      try await world.wait("test:other", on: next.controlPlane) { $0.isReattached }
      _ = try await next.controlPlane.interrupt(owner: .local, key: ThreadKey("test:other"), reason: "interrupted")
      try await world.wait("test:a", on: next.controlPlane) { $0.isMessage("d") }
      #expect(try await world.log("test:a").texts == ["a", "b", "c", "d"])
      try await next.shutDown()
    }
  }

  @Test("a message that waits for an execute waits on when another turn begins, and when the server dies")
  func leftWaiting() async throws {
    try await World.run(hasServer: false) { world in
      let gone = world.startServer("node-2")
      let key = try ThreadKey("test:a")
      _ = try await gone.controlPlane.openSession(
        owner: .local, key: key, harness: nil, persona: nil, instructions: nil, origin: "session_api")
      _ = try await gone.controlPlane.append(.said("say kept"), owner: .local, key: key)
      _ = try await gone.controlPlane.submit(.sdk("gate go; say one", key: "test:a"))
      try await world.wait("test:a", on: gone.controlPlane) { $0.isCommandStart }
      _ = try await gone.controlPlane.submit(.sdk("say two", key: "test:a"))
      let next = world.startServer("node-3")
      try await world.wait("test:a", on: next.controlPlane) { $0.isReattached }
      try await world.open(gate: "go", of: "test:a")
      #expect(try await world.waitForEnds(2, of: "test:a").texts == ["one", "two"])
      let execute = try TurnRequest.sdk("", key: "test:a").with { $0.input = [] }
      #expect(try await next.controlPlane.execute(execute, key: key).finished().texts == ["kept"])
      let none = await #expect(throws: CentaurError.self) {
        try await next.controlPlane.execute(execute, key: key)
      }
      #expect(none?.code == .emptyInput)
      try await gone.shutDown()
      try await next.shutDown()
    }
  }

  @Test("one session that cannot be opened does not keep the others from being looked after")
  func oneBroken() async throws {
    try await World.run(hasServer: false) { world in
      let gone = world.startServer("node-2")
      var turns: [AdmittedTurn] = []
      for key in ["test:a", "test:b", "test:c"] {
        let turn = try await gone.controlPlane.submit(.sdk("say one; gate go", key: key))
        try await world.wait(key, on: gone.controlPlane) { $0.isCommandStart }
        turns.append(turn)
      }
      world.store.fail(.openExecutions(turns[0].session.id))
      let next = world.startServer("node-3")
      for key in ["test:b", "test:c"] {
        try await world.wait(key, on: next.controlPlane) { $0.isReattached }
        try await world.open(gate: "go", of: key)
        #expect(try await world.waitForEnds(1, of: key).ends == ["completed"])
      }
      world.store.heal()
      try await world.open(gate: "go", of: "test:a")
      #expect(
        try await next.controlPlane.submit(.sdk("say on", key: "test:a")).finished().texts == ["on"])
      #expect(try await world.log("test:a").ends == ["completed", "completed"])
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
