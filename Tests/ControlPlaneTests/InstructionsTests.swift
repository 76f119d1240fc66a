import ControlPlane
import SessionModel
import Testing

/// A program instructs the agent anew in a conversation that goes on. Failed, it is answered by an agent that follows
/// instructions which it has withdrawn, and nobody tells it.
struct InstructionsTests {
  private static func ask(
    _ text: String, _ instructions: String?, key: String = "test:a"
  ) throws -> TurnRequest {
    try .sdk(text, key: key).with { $0.instructions = instructions }
  }

  private static func said(_ world: World, _ request: TurnRequest) async throws -> [String] {
    try await world.submit(request).finished().texts
  }

  @Test("others are told once, with the turn that brings them; none change nothing")
  func told() async throws {
    try await World.run { world in
      #expect(try await Self.said(world, Self.ask("instructed; retold", "A")) == ["A", ""])
      #expect(try await Self.said(world, Self.ask("retold", "A")) == [""])
      #expect(try await Self.said(world, Self.ask("retold", "B")) == ["B"])
      #expect(try await Self.said(world, Self.ask("retold", "B")) == ["B"])
      #expect(try await Self.said(world, Self.ask("retold", nil)) == ["B"])
      #expect(try await Self.said(world, Self.ask("retold", "")) == ["B"])
      #expect(try await Self.said(world, Self.ask("retold; recall", "A")).first == "B | A")
      #expect(try await world.store.session(owner: .local, key: ThreadKey("test:a"))?.instructions == "A")
      let log = try await world.log("test:a")
      let told = log.compactMap { event -> String? in
        if case .executionQueued(let options) = event.payload { options.instructions ?? "-" } else { nil }
      }
      #expect(told == ["-", "-", "B", "-", "-", "-", "A"])
      // Nobody said them: they are no message of the user's.
      #expect(
        log.allSatisfy { if case .messageAppended(let message) = $0.payload { message.text != "B" } else { true } })
    }
  }

  @Test("instructions in messages beside what is said are added to the earlier ones, up to a size")
  func added() async throws {
    try await World.run { world in
      _ = try await Self.said(world, Self.ask("say one", "A"))
      let addition = try Self.ask("retold", "And B").with { $0.addsInstructions = true }
      #expect(try await Self.said(world, addition) == ["A / And B"])
      #expect(try await Self.said(world, addition) == ["A / And B"])
      let long = String(repeating: "x", count: 32 << 10)
      _ = try await Self.said(world, Self.ask("say two", long).with { $0.addsInstructions = true })
      #expect(try await world.store.session(owner: .local, key: ThreadKey("test:a"))?.instructions == long)
    }
  }

  @Test("a persona's instructions stay where the client's change")
  func persona() async throws {
    let personas = ["judge": ControlPlaneConfiguration.Persona(instructions: "Judge.")]
    try await World.run(personas: personas) { world in
      _ = try await Self.said(world, Self.ask("say one", "A").with { $0.persona = "judge" })
      #expect(try await Self.said(world, Self.ask("retold", "B")) == ["Judge. / B"])
    }
  }

  @Test("turns in line are told in their order, and one that never ran has told nothing")
  func inLine() async throws {
    try await World.run { world in
      let running = try await world.submit(Self.ask("gate g; retold", "A"))
      let second = try await world.submit(Self.ask("retold", "B"))
      let third = try await world.submit(Self.ask("retold", "B"))
      let fourth = try await world.submit(Self.ask("say never", "C"))
      try await world.controlPlane.end(fourth, reason: "cancelled")
      let fifth = try await world.submit(Self.ask("retold", "B"))
      try await world.wait("test:a") { $0.isCommandStart }
      #expect(try await world.store.session(owner: .local, key: ThreadKey("test:a"))?.instructions == "A")
      try await world.open(gate: "g", of: "test:a")
      #expect(try await running.finished().texts == [""])
      for turn in [second, third, fifth] { #expect(try await turn.finished().texts == ["B"]) }
    }
  }

  @Test("a turn that failed may not have been heard: the next one tells them once more")
  func failed() async throws {
    try await World.run { world in
      _ = try await Self.said(world, Self.ask("say one", "A"))
      #expect(try await world.submit(Self.ask("exit 3", "B")).finished().ends == ["failed (harness_died)"])
      // The next process begins with them, and is told that they are new.
      #expect(try await Self.said(world, Self.ask("instructed; retold", nil)) == ["B", "B"])
      #expect(try await Self.said(world, Self.ask("retold", "B")) == ["B"])
    }
  }

  @Test("a harness that begins later, and the next server's, have the newest; so has a turn that waited for it")
  func restart() async throws {
    try await World.run(hasServer: false) { world in
      let gone = world.startServer("node-2")
      _ = try await gone.controlPlane.submit(Self.ask("say one", "A")).finished()
      let running = try await gone.controlPlane.submit(Self.ask("gate g; retold", "B"))
      try await world.wait("test:a", on: gone.controlPlane) { $0.isCommandStart }
      let waiting = try await gone.controlPlane.submit(Self.ask("retold", "C"))
      let next = world.startServer("node-3")
      try await world.wait("test:a", on: next.controlPlane) { $0.isReattached }
      try await world.open(gate: "g", of: "test:a")
      let log = try await world.waitForEnds(3, of: "test:a")
      #expect(log.filter { $0.executionID == running.execution.id }.texts == ["B"])
      #expect(log.filter { $0.executionID == waiting.execution.id }.texts == ["B | C"])
      try await gone.shutDown()
      _ = try await next.controlPlane.archive(owner: .local, key: ThreadKey("test:a"), force: true)
      let again = try await next.controlPlane.submit(Self.ask("instructed; retold", "C"))
      #expect(try await again.finished().texts == ["C", ""])
      try await next.shutDown()
    }
  }

  @Test("a branch has the instructions of the point that it leaves from")
  func branch() async throws {
    try await World.run { world in
      let turns = try await ["A", "B", "C"].asyncMap { instructions in
        let turn = try await world.submit(Self.ask("say \(instructions)", instructions))
        _ = try await turn.finished()
        return turn
      }
      let branch = try await world.submit(
        .sdk("instructed", key: "test:unused").with { $0.session = .continuing(replyID: turns[1].reply.wireID) })
      #expect(branch.session.key != turns[0].session.key)
      #expect(try await branch.finished().texts == ["B"])
    }
  }

  @Test(
    "instructions that come with what a tool said are told with that, once, and kept; a retry finds the same answer")
  func withOutput() async throws {
    try await World.run { world in
      let turn = try await world.submit(Self.ask("call one; retold", "A"))
      try await world.wait("test:a") { $0.kind == "execution.waiting" }
      let request = TurnRequest(
        owner: .local, session: .fresh, client: .sdk, input: [],
        outputs: [ToolOutput(call: ClientCallID(turn.execution.id, 1), parts: [.text("x")])], instructions: "B",
        origin: "test", replyPrefix: "resp", echo: .null)
      let told = try await world.submit(request)
      #expect(try await told.finished().texts == ["told x", "B"])
      #expect(try await world.submit(request).reply.wireID == told.reply.wireID)
      #expect(try await Self.said(world, Self.ask("retold", "B")) == ["B"])
      #expect(try await world.store.session(owner: .local, key: ThreadKey("test:a"))?.instructions == "B")
    }
  }

  @Test("told with what a tool said, to a sandbox that died then: the next turn tells them once more")
  func outputLost() async throws {
    try await World.run { world in
      let turn = try await world.submit(Self.ask("pid p; call one; gate g", "A"))
      try await world.wait("test:a") { $0.kind == "execution.waiting" }
      let call = ClientCallID(turn.execution.id, 2)
      _ = try await world.submit(
        TurnRequest(
          owner: .local, session: .fresh, client: .sdk, input: [],
          outputs: [ToolOutput(call: call, parts: [.text("x")])], instructions: "B", origin: "test",
          replyPrefix: "resp", echo: .null))
      try await world.wait("test:a") { $0.isCommandStart }
      try await world.killHarness("p", of: "test:a")
      #expect(try await turn.finished().ends.first?.hasPrefix("failed") == true)
      #expect(try await Self.said(world, Self.ask("retold", nil)) == ["B"])
      #expect(try await Self.said(world, Self.ask("retold", "B")) == ["B"])
    }
  }

  @Test("what a turn tells while another that brings the same waits in line is told once; what the next brings holds")
  func outputBesideLine() async throws {
    try await World.run { world in
      let turn = try await world.submit(Self.ask("call one; retold", "A"))
      try await world.wait("test:a") { $0.kind == "execution.waiting" }
      let same = try await world.submit(Self.ask("retold", "B").with { $0.busy = .queue })
      let earlier = try await world.submit(Self.ask("retold", "A").with { $0.busy = .queue })
      let told = try await world.submit(
        TurnRequest(
          owner: .local, session: .fresh, client: .sdk, input: [],
          outputs: [ToolOutput(call: ClientCallID(turn.execution.id, 1), parts: [.text("x")])], instructions: "B",
          origin: "test", replyPrefix: "resp", echo: .null))
      #expect(try await told.finished().texts == ["told x", "B"])
      #expect(try await same.finished().texts == ["B"])
      #expect(try await earlier.finished().texts == ["B | A"])
    }
  }

  @Test(
    "a turn in line is cancelled before it told what it brought: those behind it run under that, or their own",
    arguments: [("B", "B"), (nil, "B"), ("", "B"), ("A", ""), ("C", "C")] as [(String?, String)])
  func cancelledInLine(_ own: String?, _ told: String) async throws {
    try await World.run(hasServer: false) { world in
      let gone = world.startServer("node-2")
      let running = try await gone.controlPlane.submit(Self.ask("gate g; retold", "A"))
      try await world.wait("test:a", on: gone.controlPlane) { $0.isCommandStart }
      let never = try await gone.controlPlane.submit(Self.ask("say never", "B"))
      let behind = try await gone.controlPlane.submit(Self.ask("retold", own))
      let last = try await gone.controlPlane.submit(Self.ask("retold", nil))
      try await gone.controlPlane.end(never, reason: "cancelled")
      // The next server knows it from the log.
      let next = world.startServer("node-3")
      try await world.wait("test:a", on: next.controlPlane) { $0.isReattached }
      try await world.open(gate: "g", of: "test:a")
      let log = try await world.waitForEnds(4, of: "test:a")
      func said(_ turn: AdmittedTurn) -> [String] { log.filter { $0.executionID == turn.execution.id }.texts }
      #expect([said(running), said(never), said(behind), said(last)] == [[""], [], [told], [told]])
      try await gone.shutDown()
      try await next.shutDown()
    }
  }

  @Test("turns in line behind one that failed are told what it was told")
  func failedBeforeLine() async throws {
    try await World.run { world in
      _ = try await Self.said(world, Self.ask("say one", "A"))
      let failing = try await world.submit(Self.ask("gate g; exit 3", "B"))
      let never = try await world.submit(Self.ask("say never", nil))
      let behind = try await world.submit(Self.ask("retold", nil))
      try await world.wait("test:a") { $0.isCommandStart }
      try await world.controlPlane.end(never, reason: "cancelled")
      try await world.open(gate: "g", of: "test:a")
      #expect(try await failing.finished().ends == ["failed (harness_died)"])
      #expect(try await behind.finished().texts == ["B"])
      #expect(try await Self.said(world, Self.ask("retold", nil)) == ["B"])
    }
  }

  @Test("an agent that hands over to one with other functions: its turn ends, the next has the functions and is told")
  func handover() async throws {
    try await World.run { world in
      func offering(_ name: String, _ request: TurnRequest) -> TurnRequest {
        request.with { $0.options.tools = [ClientTool(name: name)] }
      }
      let first = try await world.submit(offering("transfer", Self.ask("call transfer", "A")))
      try await world.wait("test:a") { $0.kind == "execution.waiting" }
      let output = ToolOutput(call: ClientCallID(first.execution.id, 1), parts: [.text("; retold; call weather")])
      let request = offering(
        "weather",
        TurnRequest(
          owner: .local, session: .continuing(replyID: first.reply.wireID), client: .sdk, input: [], outputs: [output],
          instructions: "B", origin: "test", replyPrefix: "resp", echo: .null))
      let second = try await world.submit(request)
      #expect(second.execution.id != first.execution.id && second.session.key == first.session.key)
      #expect(second.execution.options.tools.map(\.name) == ["weather"])
      #expect(try await first.finished().ends == ["cancelled (superseded)"])
      try await world.wait("test:a") { payload in
        if case .executionWaiting(let calls, _) = payload {
          calls[0].id.execution == second.execution.id
        } else {
          false
        }
      }
      #expect(try await world.submit(request).reply.wireID == second.reply.wireID, "a retry is the same turn")
      let call = try #require(
        try await world.log("test:a").compactMap { event in
          if case .executionWaiting(let calls, _) = event.payload { calls.last } else { nil }
        }.last)
      let last = try await world.submit(
        request.with { $0.outputs = [ToolOutput(call: call.id, parts: [.text("sunny")])] })
      #expect(try await last.finished().texts == ["told sunny"])
      #expect(try await world.log("test:a").texts == ["B", "told sunny"])
    }
  }

  @Test("behind an agent that hands over: what waits in line is run, and other words are a turn of their own")
  func handoverBesideOthers() async throws {
    try await World.run { world in
      let first = try await world.submit(
        Self.ask("call transfer", "A").with { $0.options.tools = [ClientTool(name: "transfer")] })
      try await world.wait("test:a") { $0.kind == "execution.waiting" }
      let queued = try await world.submit(.sdk("say queued", key: "test:a").with { $0.busy = .queue })
      let output = ToolOutput(call: ClientCallID(first.execution.id, 1), parts: [.text("; say handed")])
      let request = TurnRequest(
        owner: .local, session: .key(try ThreadKey("test:a")), client: .sdk, input: [], outputs: [output],
        instructions: "B", origin: "test", replyPrefix: "resp", echo: .null
      ).with { $0.options.tools = [ClientTool(name: "weather")] }
      let second = try await world.submit(request)
      #expect(try await queued.finished().texts == ["queued"])
      #expect(try await second.finished().texts == ["handed"])
      let more = try await world.submit(request.with { $0.input = [Message(parts: [.text("; say more")])] })
      #expect(more.execution.id != second.execution.id)
      #expect(try await more.finished().texts.last == "more")
      #expect(try await world.submit(request).reply.wireID == second.reply.wireID)
    }
  }

  @Test("a message that would steer a turn is one of its own where it brings other instructions")
  func steering() async throws {
    try await World.run { world in
      let running = try await world.submit(Self.ask("hold", "A"))
      try await world.wait("test:a") { if case .executionStarted = $0 { true } else { false } }
      let other = try await world.submit(Self.ask("retold", "B").with { $0.busy = .steer })
      #expect(other.execution.id != running.execution.id)
      let same = try await world.submit(Self.ask("say steered", nil).with { $0.busy = .steer })
      #expect(same.execution.id == running.execution.id)
      #expect(try await running.finished().texts == ["steered"])
      #expect(try await other.finished().texts == ["B"])
    }
  }
}

extension [String] {
  fileprivate func asyncMap<T>(_ make: (String) async throws -> T) async throws -> [T] {
    var made: [T] = []
    for element in self { made.append(try await make(element)) }
    return made
  }
}
