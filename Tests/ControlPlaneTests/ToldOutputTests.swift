import ControlPlane
import SessionModel
import Testing

/// What is told of a client's tools, and of what its user says beside their outputs: to the agent, to those that go on
/// from there, and in lists.
struct ToldOutputTests {
  private static func outputs(
    _ turn: AdmittedTurn, _ said: [(ordinal: Int, text: String)], beside words: String? = nil
  ) -> TurnRequest {
    TurnRequest(
      owner: .local, session: .fresh, client: .sdk, input: [words.map { .said($0) }].compactMap(\.self),
      outputs: said.map { ToolOutput(call: ClientCallID(turn.execution.id, $0.ordinal), parts: [.text($0.text)]) },
      origin: "test", replyPrefix: "resp", echo: .null)
  }

  private static func after(_ turn: AdmittedTurn, _ text: String) throws -> TurnRequest {
    try .sdk(text, key: "test:unused").with { $0.session = .continuing(replyID: turn.reply.wireID) }
  }

  private static func code(_ ask: () async throws -> AdmittedTurn) async -> CentaurError.Code? {
    do {
      _ = try await ask()
      return nil
    } catch { return (error as? CentaurError)?.code }
  }

  private static func isWait(_ payload: EventPayload) -> Bool { payload.kind == "execution.waiting" }

  /// A turn that waits.
  private static func waiting(_ world: World, _ steps: String, key: String = "test:a") async throws -> AdmittedTurn {
    let turn = try await world.submit(.sdk(steps, key: key))
    try await world.wait(key, for: isWait)
    return turn
  }

  /// What a list shows, page by page.
  private static func shown(_ list: ListedConversation) async throws -> [String] {
    var (place, shown) = (ListedConversation.Place.beginning, [String]())
    while true {
      let entries = try await list.entries(after: place, before: .end, newestFirst: false, limit: 2)
      guard let last = entries.last else { return shown }
      place = last.place
      for case (_, .event(let event)) in entries {
        switch event.payload {
        case .messageAppended(let message): shown.append("\(message.role): \(message.text)")
        case .executionWaiting(let calls, _): shown += calls.map { "call \($0.name)" }
        case .executionResumed(let outputs, _): shown += outputs.map { "output \(Message(parts: $0.parts).text)" }
        default: shown += [event].texts.map { "assistant: \($0)" }
        }
      }
    }
  }

  @Test(
    "what the user says beside an output is in the log once, told to the agent once, and part of what is sent again")
  func beside() async throws {
    try await World.run { world in
      let turn = try await Self.waiting(world, "call look; say after")
      let request = Self.outputs(turn, [(1, "found")], beside: "mind the gap")
      let told = try await world.submit(request)
      #expect(try await told.finished().texts == ["told found / mind the gap", "after"])
      let log = try await world.log("test:a")
      let resumed = try #require(log.firstIndex { $0.payload.kind == "execution.resumed" })
      let output = ToolOutput(call: ClientCallID(turn.execution.id, 1), parts: [.text("found")])
      #expect(log[resumed].payload == .executionResumed([output], messages: 1))
      #expect(log[resumed + 1].payload == .messageAppended(.said("mind the gap")))
      #expect(log[resumed + 1].executionID == turn.execution.id)
      #expect(log.filter { $0.payload == .messageAppended(.said("mind the gap")) }.count == 1)
      let again = try await world.submit(request)
      #expect(again.isReplay && again.reply.wireID == told.reply.wireID)
      for other in ["found", "found / mind the gap"] {
        #expect(await Self.code { try await world.submit(Self.outputs(turn, [(1, other)])) } == .callClosed)
      }
    }
  }

  @Test("an output that says something else than before is refused, whatever stands beside it, and changes nothing")
  func contradicted() async throws {
    try await World.run { world in
      let turn = try await Self.waiting(world, "call one; call two; say after")
      let told = try await world.submit(Self.outputs(turn, [(1, "first")], beside: "mind"))
      try await world.wait("test:a") { payload in
        if case .executionWaiting(let calls, _) = payload { calls[0].id.ordinal == 3 } else { false }
      }
      let before = try await world.log("test:a").count
      for request in [
        Self.outputs(turn, [(1, "other"), (3, "second")]), Self.outputs(turn, [(3, "second"), (1, "other")]),
        Self.outputs(turn, [(1, "other")], beside: "say new"), Self.outputs(turn, [(1, "other")], beside: "mind"),
      ] { #expect(await Self.code { try await world.submit(request) } == .callClosed) }
      #expect(try await world.log("test:a").count == before)
      // What says what it said is history, with and without the words that were beside it.
      let last = try await world.submit(Self.outputs(turn, [(1, "first"), (3, "second")]))
      #expect(try await last.finished().texts == ["told second", "after"])
      #expect(
        await Self.code { try await world.submit(Self.outputs(turn, [(3, "other")], beside: "say new")) }
          == .callClosed)
      let new = try await world.submit(Self.outputs(turn, [(3, "second")], beside: "say new"))
      #expect(try await new.finished().texts == ["new"])
      #expect(
        try await world.submit(Self.outputs(turn, [(1, "first")], beside: "mind")).reply.wireID == told.reply.wireID)
    }
  }

  @Test("a fork behind a turn with tools knows what they were asked, what they said, and what was said beside that")
  func forks() async throws {
    try await World.run { world in
      let turn = try await Self.waiting(world, "say asking; call look also; say after")
      _ = try await world.submit(Self.outputs(turn, [(3, "second")])).reply
      // With one that was given before, wherever that stands; and again.
      let request = Self.outputs(turn, [(2, "first"), (3, "second")], beside: "mind the gap")
      let told = try await world.submit(request)
      _ = try await told.finished()
      #expect(try await world.submit(request).reply.wireID == told.reply.wireID)
      _ = try await world.run("say on", key: "test:a")
      let branch = try await world.submit(Self.after(told, "recall"))
      #expect(branch.session.key != turn.session.key)
      let expected = [
        "user: say asking; call look also; say after", "assistant: asking", "assistant: [called look: {}]",
        "assistant: [called also: {}]", "user: [tool output of also: second]", "user: [tool output of look: first]",
        "user: mind the gap", "assistant: told second and first / mind the gap", "assistant: after",
      ]
      #expect(try await branch.finished().texts == [expected.joined(separator: " | ")])
    }
  }

  @Test("so does a new harness where the old one is lost, and a turn that waited in line knows what was said meanwhile")
  func newHarness() async throws {
    try await World.run(harnesses: [.init(name: World.scripted, forgets: true)]) { world in
      let turn = try await Self.waiting(world, "call look; exit 3")
      let next = try await world.submit(.sdk("recall", key: "test:a").with { $0.busy = .queue })
      _ = try await world.submit(Self.outputs(turn, [(1, "found")], beside: "mind the gap"))
      let expected = [
        "user: call look; exit 3", "assistant: [called look: {}]", "user: [tool output of look: found]",
        "user: mind the gap", "assistant: told found / mind the gap",
      ]
      let retold = try await next.finished().texts
      #expect(retold == [expected.joined(separator: " | ")], "\(retold)")
      _ = try await world.run("say on", key: "test:a")
      let branch = try await world.submit(Self.after(next, "recall"))
      let told = try await branch.finished().texts
      #expect(told.count == 1 && told[0].contains("user: mind the gap"), "\(told)")
    }
  }

  @Test("lists have calls, outputs and words in the order in which they were said, and a response's input its outputs")
  func lists() async throws {
    try await World.run { world in
      let conversation = try await world.controlPlane.openConversation(owner: .local, metadata: .null, items: [])
      let key = try ControlPlane.key(ofConversation: conversation.id).rawValue
      let turn = try await world.submit(
        .sdk("say asking; call look also; say after", key: "test:unused").with {
          $0.session = .conversation(conversation.id)
        })
      try await world.wait(key, for: Self.isWait)
      let queued = try await world.submit(.sdk("say queued", key: key).with { $0.busy = .queue })
      let some = try await world.submit(Self.outputs(turn, [(3, "second")], beside: "wait"))
      let rest = try await world.submit(Self.outputs(turn, [(2, "first")], beside: "mind the gap"))
      _ = try await queued.finished()
      let begin = ["user: say asking; call look also; say after"]
      let first = begin + ["assistant: asking", "call look", "call also", "output second", "user: wait"]
      let second = first + ["output first", "user: mind the gap"]
      let plane = world.controlPlane
      func input(_ turn: AdmittedTurn) async throws -> [String] {
        try await Self.shown(plane.input(ofReply: turn.reply.wireID, owner: .local))
      }
      #expect(try await input(turn) == begin)
      #expect(try await input(some) == first)
      #expect(try await input(rest) == second)
      let all = second + ["assistant: told second / wait and first / mind the gap", "assistant: after"]
      // The message that waited stands where it was said.
      #expect(try await input(queued) == Array(all[..<4]) + ["user: say queued"] + all[4...])
      let listed = try await plane.items(ofConversation: conversation.id, owner: .local)
      let shown = try await Self.shown(listed)
      #expect(shown.filter { $0 != "user: say queued" } == all + ["assistant: queued"])
      let calls = (2...3).map { ClientCallID(turn.execution.id, $0) }
      let places = try await [
        listed.place(of: ListedConversation.itemID(of: calls[1])),
        listed.place(of: ListedConversation.itemID(ofOutputOf: calls[1])),
        listed.place(of: ListedConversation.itemID(ofOutputOf: calls[0])),
      ].compactMap(\.self)
      #expect(places.count == 3 && places == places.sorted())
      #expect(try await listed.place(of: "fc_\(turn.execution.id)_1") == nil)
    }
  }

  @Test("a reply to what steers a turn that has waited begins behind that wait, also when it is asked for again")
  func steered() async throws {
    try await World.run { world in
      let turn = try await Self.waiting(world, "say asking; call look; hold")
      let output = Self.outputs(turn, [(2, "found")])
      let told = try await world.submit(output)
      try await world.wait("test:a") { $0.isMessage("told found") }
      let steer = try TurnRequest.sdk("say steered; call more", key: "test:a").with {
        $0.busy = .steer
        $0.turnKey = "key:K"
      }
      let steered = try await world.submit(steer)
      #expect(steered.execution.id == turn.execution.id && steered.reply.afterSeq == told.reply.afterSeq)
      try await world.wait("test:a") { payload in
        if case .executionWaiting(let calls, _) = payload { calls.first?.name == "more" } else { false }
      }
      let last = try await world.submit(Self.outputs(turn, [(5, "enough")]))
      #expect(last.reply.afterSeq > steered.reply.afterSeq)
      let shown = try await steered.finished()
      #expect(shown.first?.seq == told.reply.afterSeq && shown.texts == ["told found", "steered", "told enough"])
      let again = try await world.submit(steer)
      #expect(again.isReplay && again.reply.wireID == steered.reply.wireID)
      #expect(try await world.submit(output).reply.wireID == told.reply.wireID)
    }
  }

  @Test("calls that a harness asked for while others waited are told with the answer to those, also over a restart")
  func keptBack() async throws {
    try await World.run(hasServer: false) { world in
      let gone = world.startServer("node-2")
      let turn = try await gone.controlPlane.submit(.sdk("call one then two; say after", key: "test:a"))
      try await world.wait("test:a", on: gone.controlPlane, for: Self.isWait)
      let told = try await gone.controlPlane.submit(Self.outputs(turn, [(1, "a")], beside: "mind the gap"))
      #expect(told.execution.status == .waiting)
      let kinds = try await world.kinds("test:a").suffix(3)
      #expect(kinds == ["execution.resumed", "message.appended", "execution.waiting"])
      try await gone.shutDown()
      let next = world.startServer("node-3")
      let rest = try await next.controlPlane.submit(Self.outputs(turn, [(2, "b")]))
      #expect(try await rest.finished().texts == ["told a / mind the gap and b", "after"])
      let log = try await world.log("test:a")
      #expect(log.filter { Self.isWait($0.payload) }.count == 2 && log.isDense)
      try await next.shutDown()
    }
  }

  @Test(
    "a request that branches off with outputs of calls that are over tells them to the branch, and can be sent again")
  func forkWithOutputs() async throws {
    try await World.run { world in
      let turn = try await Self.waiting(world, "call look")
      _ = try await world.run("say instead", key: "test:a")
      let request = Self.outputs(turn, [(1, "found")], beside: "recall").with {
        $0.session = .continuing(replyID: turn.reply.wireID)
        $0.turnKey = "key:K"
      }
      let branch = try await world.submit(request)
      #expect(branch.session.key != turn.session.key)
      #expect(
        try await branch.finished().texts == [
          "user: call look | assistant: [called look: {}] | user: [tool output of look: found]"
        ])
      let again = try await world.submit(request)
      #expect(again.isReplay && again.reply.wireID == branch.reply.wireID)
      // In the session itself they are told with what is said.
      let here = try await world.submit(request.with { $0.session = .key(turn.session.key) })
      #expect(try await here.finished().texts.first?.hasSuffix("say instead") == true)
      let said = try await world.log("test:a").filter { $0.executionID == here.execution.id }.compactMap { event in
        if case .messageAppended(let message) = event.payload { message.text } else { String?.none }
      }
      #expect(said == ["[tool output of look: found]", "recall"])
    }
  }

  @Test("an older response that still waits is answered by its outputs, whatever waits behind it")
  func olderThatWaits() async throws {
    try await World.run { world in
      let turn = try await Self.waiting(world, "call look")
      let queued = try await world.submit(.sdk("say queued", key: "test:a").with { $0.busy = .queue })
      let told = try await world.submit(
        Self.outputs(turn, [(1, "found")]).with { $0.session = .continuing(replyID: turn.reply.wireID) })
      #expect(told.execution.id == turn.execution.id)
      #expect(try await told.finished().texts == ["told found"])
      #expect(try await queued.finished().texts == ["queued"])
    }
  }

  @Test("a function that is described otherwise beside an output is the turn's as it was, and the log says which")
  func otherTools() async throws {
    try await World.run { world in
      let turn = try await world.submit(
        .sdk("call look", key: "test:a").with { $0.options.tools = [ClientTool(name: "look")] })
      try await world.wait("test:a") { $0.kind == "execution.waiting" }
      let told = try await world.submit(
        Self.outputs(turn, [(1, "found")]).with {
          $0.options.tools = [ClientTool(name: "look", description: "Looks twice.")]
        })
      let warnings = try await told.finished().compactMap { event in
        if case .warning(let code, let message) = event.payload { "\(code) \(message)" } else { String?.none }
      }
      #expect(warnings.count == 1 && warnings[0].hasPrefix("tools_not_offered") && warnings[0].hasSuffix(": look."))
    }
  }
}
