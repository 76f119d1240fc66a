import ControlPlane
import SessionModel
import Testing

/// Conversations that clients open by a name of ours: what they add waits for the next turn.
struct ConversationTests {
  private static func item(_ id: String, _ role: Message.Role, _ text: String) -> AddedItem {
    AddedItem(id: id, shown: ["id": .string(id)], message: Message(role: role, parts: [.text(text)]))
  }

  private static func opened(_ world: World, _ items: AddedItem...) async throws -> String {
    try await world.controlPlane.openConversation(owner: .local, metadata: ["a": "b"], items: items).id
  }

  private static func turn(_ id: String, _ text: String) throws -> TurnRequest {
    try .sdk(text, key: "test:unused").with { $0.session = .conversation(id) }
  }

  @Test("a conversation is one session, which begins with what was added before its first turn")
  func begins() async throws {
    try await World.run { world in
      let id = try await Self.opened(
        world, Self.item("msg_a", .user, "I am Ada."), Self.item("msg_b", .assistant, "Noted."))
      let one = try await world.submit(Self.turn(id, "recall").with { $0.instructions = "Be brief." })
      #expect(try await one.finished().texts == ["user: I am Ada. | assistant: Noted."])
      #expect(one.session.key == (try ControlPlane.key(ofConversation: id)))
      #expect(one.session.instructions == "Be brief.")
      let two = try await world.submit(Self.turn(id, "recall"))
      #expect(two.session.id == one.session.id)
      #expect(try await two.finished().texts == ["user: I am Ada. | assistant: Noted. | recall"])
    }
  }

  @Test("what is added later is told with the next turn, once")
  func added() async throws {
    try await World.run { world in
      let id = try await Self.opened(world)
      _ = try await world.submit(Self.turn(id, "say one")).finished()
      try await world.controlPlane.add(
        [Self.item("msg_a", .user, "say more"), Self.item("msg_b", .assistant, "Sure.")], toConversation: id,
        owner: .local)
      let turn = try await world.submit(Self.turn(id, "say two"))
      let messages = try await turn.finished().compactMap { event -> String? in
        if case .messageAppended(let message) = event.payload { "\(message.role): \(message.text)" } else { nil }
      }
      #expect(messages == ["user: say more", "assistant: Sure.", "user: say two"])
      let next = try await world.submit(Self.turn(id, "say three")).finished()
      #expect(next.filter { if case .messageAppended = $0.payload { true } else { false } }.count == 1)
    }
  }

  @Test("what a turn in line took along goes with the next that begins, where it is cancelled before that: told once")
  func passedOn() async throws {
    try await World.run { world in
      let id = try await Self.opened(world)
      let key = try ControlPlane.key(ofConversation: id).rawValue
      _ = try await world.submit(Self.turn(id, "say one")).finished()
      _ = try await world.submit(Self.turn(id, "gate g"))
      try await world.wait(key) { $0.isCommandStart }
      try await world.controlPlane.add(
        [Self.item("msg_a", .user, "say more"), Self.item("msg_b", .user, "say gone")], toConversation: id,
        owner: .local)
      let never = try await world.submit(Self.turn(id, "say never"))
      let nor = try await world.submit(Self.turn(id, "say neither"))
      let behind = try await world.submit(Self.turn(id, "say two"))
      for turn in [never, nor] { try await world.controlPlane.end(turn, reason: "cancelled") }
      try await world.controlPlane.hideItem("msg_b", ofConversation: id, owner: .local)
      try await world.open(gate: "g", of: key)
      #expect(try await behind.finished().texts == ["more", "two"])
      #expect(try await world.submit(Self.turn(id, "say three")).finished().texts == ["three"])
      let said = try await world.log(key).compactMap { event -> String? in
        if case .messageAppended(let message) = event.payload { message.clientID } else { nil }
      }
      #expect(said == ["msg_a", "msg_b"], "an item is in the list once")
    }
  }

  @Test("the next server's turn has what was taken along too, and goes on with it under the one behind that")
  func passedOnOverRestarts() async throws {
    try await World.run(hasServer: false) { world in
      let gone = world.startServer("node-2")
      let id = try await gone.controlPlane.openConversation(owner: .local, metadata: [:], items: []).id
      let key = try ControlPlane.key(ofConversation: id).rawValue
      _ = try await gone.controlPlane.submit(Self.turn(id, "gate g"))
      try await world.wait(key, on: gone.controlPlane) { $0.isCommandStart }
      try await gone.controlPlane.add([Self.item("msg_a", .user, "say more")], toConversation: id, owner: .local)
      let never = try await gone.controlPlane.submit(Self.turn(id, "say never"))
      try await gone.controlPlane.end(never, reason: "cancelled")
      let next = world.startServer("node-3")
      try await world.wait(key, on: next.controlPlane) { $0.isReattached }
      let behind = try await next.controlPlane.submit(Self.turn(id, "hold"))
      try await world.open(gate: "g", of: key)
      try await world.wait(key, on: next.controlPlane) { $0.isMessage("more") }
      let last = world.startServer("node-4")
      try await world.wait(key, on: last.controlPlane) { $0.isReattached }
      _ = try await last.controlPlane.submit(Self.turn(id, "recall").with { $0.busy = .steer })
      let texts = try await world.waitForEnds(3, of: key).filter { $0.executionID == behind.execution.id }.texts
      #expect(texts == ["more", "gate g | say more | hold | recall"])
      for node in [gone, next, last] { try await node.shutDown() }
    }
  }

  @Test("a harness that begins anew is told once what a cancelled turn took along")
  func passedOnToANewHarness() async throws {
    try await World.run(harnesses: [.init(name: World.scripted, lifetime: .turn, forgets: true)]) { world in
      let id = try await Self.opened(world)
      let key = try ControlPlane.key(ofConversation: id).rawValue
      _ = try await world.submit(Self.turn(id, "gate g"))
      try await world.wait(key) { $0.isCommandStart }
      try await world.controlPlane.add([Self.item("msg_a", .user, "say more")], toConversation: id, owner: .local)
      let never = try await world.submit(Self.turn(id, "say never"))
      let behind = try await world.submit(Self.turn(id, "recall"))
      try await world.controlPlane.end(never, reason: "cancelled")
      try await world.open(gate: "g", of: key)
      #expect(try await behind.finished().texts == ["more", "user: gate g | user: say never"])
      let next = try await world.submit(Self.turn(id, "recall")).finished().texts
      #expect(next.first?.split(separator: "say more", omittingEmptySubsequences: false).count == 2)
    }
  }

  @Test("another owner's conversation is unknown, whatever is asked of it")
  func owners() async throws {
    try await World.run { world in
      let id = try await Self.opened(world)
      let other = Owner(rawValue: "somebody else")
      let plane = world.controlPlane
      func code(_ body: () async throws -> Void) async -> CentaurError.Code? {
        do { try await body() } catch { return (error as? CentaurError)?.code }
        return nil
      }
      for name in [id, "conv_none"] {
        let owner = name == id ? other : .local
        #expect(await code { _ = try await plane.conversation(owner: owner, id: name) } == .conversationNotFound)
        #expect(
          await code { try await plane.setMetadata(.null, ofConversation: name, owner: owner) } == .conversationNotFound
        )
        #expect(await code { try await plane.forgetConversation(name, owner: owner) } == .conversationNotFound)
        #expect(await code { try await plane.add([], toConversation: name, owner: owner) } == .conversationNotFound)
        #expect(await code { _ = try await plane.items(ofConversation: name, owner: owner) } == .conversationNotFound)
        let request = try Self.turn(name, "x").with { $0.owner = owner }
        #expect(await code { _ = try await plane.submit(request) } == .conversationNotFound)
      }
      #expect(try await plane.conversation(owner: .local, id: id).metadata == ["a": "b"])
    }
  }

  @Test("a compacted conversation goes on in its session, and from an older point branches off")
  func compacted() async throws {
    try await World.run { world in
      let one = try await world.submit(.sdk("say one", key: "test:parent"))
      _ = try await one.finished()
      let plane = world.controlPlane
      let point = try await plane.compact([.said("say also")], behind: .response(one.reply.wireID), owner: .local)
      let request = try TurnRequest.sdk("say two", key: "test:unused")
        .with { $0.session = .compacted(point.id, parameter: "p") }
      let two = try await world.submit(request)
      #expect(two.session.key == one.session.key)
      let said = try await two.finished().filter { if case .messageAppended = $0.payload { true } else { false } }
      #expect(said.count == 2)
      let branch = try await world.submit(request.with { $0.input = [.said("recall")] })
      #expect(branch.session.key != one.session.key)
      #expect(try await branch.finished().texts == ["user: say one | assistant: one | user: say also"])
      // Without a session of ours it is what the client told.
      let told = try await plane.compact([.said("I am Ada.")], behind: .nothing, owner: .local)
      let again = try await plane.compact(
        [.said("I am 36.")], behind: .compacted(told.id, parameter: "p"), owner: .local)
      let fresh = try await world.submit(
        request.with {
          $0.session = .compacted(again.id, parameter: "p")
          $0.input = [.said("recall")]
        })
      #expect(try await fresh.finished().texts == ["user: I am Ada. | user: I am 36."])
      let other = Owner(rawValue: "somebody else")
      await #expect(throws: CentaurError.self) {
        try await world.submit(request.with { $0.owner = other })
      }
      await #expect(throws: CentaurError.self) {
        try await world.submit(request.with { $0.session = .compacted(point.id + "0", parameter: "p") })
      }
    }
  }

  @Test("what is kept beside sessions goes with its session's files, or when it is older than the retention")
  func retention() async throws {
    try await World.run(hasServer: false) { world in
      let server = world.startServer("node-2")
      let plane = server.controlPlane
      let turn = try await plane.submit(.sdk("say one", key: "test:a"))
      _ = try await turn.finished()
      let ofSession = try await plane.compact([], behind: .response(turn.reply.wireID), owner: .local)
      let ofNone = try await plane.compact([.said("elsewhere")], behind: .nothing, owner: .local)
      _ = try await plane.openConversation(owner: .local, metadata: .null, items: [Self.item("msg_a", .user, "waits")])
      _ = try await plane.remove(owner: .local, key: ThreadKey("test:a"), force: false)
      #expect(try await world.store.compacted(owner: .local, id: ofSession.id) == nil)
      #expect(try await world.store.compacted(owner: .local, id: ofNone.id) != nil)
      try await server.shutDown()
      let next = world.startServer("node-3") { $0.retention = .milliseconds(1) }
      try await within {
        while try await world.store.compacted(owner: .local, id: ofNone.id) != nil {
          try await Task.sleep(for: .milliseconds(5))
        }
      }
      try await next.shutDown()
    }
  }
}
