import ControlPlane
import SessionModel
import Synchronization
import Testing

/// A program's library that sends a request again by itself: the work is done once, and the answer is the one that its
/// client was waiting for.
struct RetriedRequestTests {
  /// A request as a library sends it, which names no session.
  private static func asked(
    _ text: String, retries: Int?, owner: Owner = .local, key: String? = nil
  ) throws -> TurnRequest {
    try TurnRequest.sdk(text, key: "test:unused").with {
      $0.session = .fresh
      $0.owner = owner
      $0.turnKey = key.map { "key:\($0)" }
      $0.sent = Array(text.utf8).withUnsafeBytes {
        SentRequest(owner: owner, said: ["/v1/test"], body: $0, retries: retries)
      }
    }
  }

  private static func sessions(_ world: World) async throws -> [Session] {
    try await world.store.sessions(owner: .local, before: nil, limit: 100)
  }

  /// Asks, and goes away before the answer is told.
  private static func leave(_ world: World, _ request: TurnRequest) async throws -> String {
    try await world.submit(request).reply.wireID
  }

  /// Asks, and is told all of the answer.
  private static func told(_ world: World, _ request: TurnRequest) async throws -> String {
    let turn = try await world.submit(request)
    _ = try await turn.finished()
    turn.requestTry?.isTold()
    return turn.reply.wireID
  }

  @Test("a retry attaches to the turn that runs, and the next one to the same: one session, one run, one answer")
  func attaches() async throws {
    try await World.run { world in
      let first = try await world.submit(Self.asked("count f; gate g; say done", retries: 0))
      let key = first.session.key.rawValue
      try await world.wait(key) { $0.isCommandStart }
      for retries in 1...2 {
        let again = try await world.submit(Self.asked("count f; gate g; say done", retries: retries))
        #expect(again.isReplay)
        #expect(again.reply == first.reply)
      }
      try await world.open(gate: "g", of: key)
      let last = try await world.submit(Self.asked("count f; gate g; say done", retries: 3))
      #expect(try await last.finished().texts == ["done"])
      #expect(try await world.lines("f", of: key) == ["x"])
      #expect(try await Self.sessions(world).count == 1)
    }
  }

  @Test("the same that is asked anew is done anew, and so is a retry of what never arrived")
  func anew() async throws {
    try await World.run { world in
      let one = try await Self.told(world, Self.asked("say one", retries: 0))
      let two = try await Self.told(world, Self.asked("say one", retries: 0))
      let other = try await Self.told(world, Self.asked("say other", retries: 1))
      #expect(Set([one, two, other]).count == 3)
      #expect(try await Self.sessions(world).count == 3)
    }
  }

  @Test("a turn that failed or was cancelled is run again")
  func failed() async throws {
    try await World.run { world in
      let failed = try await world.submit(Self.asked("exit 3", retries: 0))
      #expect(try await failed.finished().ends == ["failed (harness_died)"])
      let again = try await world.submit(Self.asked("exit 3", retries: 1))
      #expect(!again.isReplay)
      _ = try await again.finished()
      let cancelled = try await world.submit(Self.asked("hold", retries: 0))
      try await world.controlPlane.end(cancelled, reason: "cancelled")
      _ = try await cancelled.finished()
      let anew = try await world.submit(Self.asked("hold", retries: 1))
      #expect(!anew.isReplay)
      try await world.controlPlane.end(anew, reason: "cancelled")
      _ = try await anew.finished()
    }
  }

  @Test("of several that ask the same at once, a retry gets the answer that was not told, and each another one")
  func twins() async throws {
    try await World.run { world in
      let request = try Self.asked("say one", retries: 0)
      let first = try await Self.told(world, request)
      let lost = [try await Self.leave(world, request), try await Self.leave(world, request)]
      let last = try await Self.told(world, request)
      #expect(Set(lost + [first, last]).count == 4)
      let retry = try Self.asked("say one", retries: 1)
      let found = [try await Self.told(world, retry), try await Self.told(world, retry)]
      #expect(Set(found) == Set(lost))
      // Where nobody is known to wait, the newest that no retry has had.
      #expect(try await Self.told(world, retry) == last)
      // The one whose retry broke off is the one that the next retry gets.
      #expect(try await Self.leave(world, Self.asked("say one", retries: 2)) == last)
      #expect(try await Self.told(world, Self.asked("say one", retries: 3)) == last)
    }
  }

  @Test("twenty at once run as twenty, and the retries of all find all")
  func atOnce() async throws {
    try await World.run { world in
      func all(_ retries: Int) async throws -> Set<String> {
        try await withThrowingTaskGroup(of: String.self) { group in
          for _ in 0..<20 { group.addTask { try await Self.leave(world, Self.asked("say one", retries: retries)) } }
          return try await group.reduce(into: Set<String>()) { $0.insert($1) }
        }
      }
      let asked = try await all(0)
      #expect(asked.count == 20)
      #expect(try await all(1) == asked)
      #expect(try await all(2) == asked)
    }
  }

  @Test("one that was told to come back is done when it comes, though another one's answer is there")
  func refused() async throws {
    try await World.run { world in
      let allowance = TurnAllowance(limit: 1)
      let request = try Self.asked("gate g; say one", retries: 0)
      let first = try await world.controlPlane.submit(request, within: allowance)
      let error = await #expect(throws: CentaurError.self) {
        try await world.controlPlane.submit(request, within: allowance)
      }
      #expect(error?.code == .keyTurnLimit)
      let key = first.session.key.rawValue
      try await world.wait(key) { $0.isCommandStart }
      try await world.open(gate: "g", of: key)
      _ = try await first.finished()
      first.requestTry?.isTold()
      let second = try await world.controlPlane.submit(Self.asked("gate g; say one", retries: 1), within: allowance)
      #expect(!second.isReplay)
      // A retry that finds its turn is not one more.
      let again = try await world.controlPlane.submit(Self.asked("gate g; say one", retries: 2), within: allowance)
      #expect(again.reply == second.reply)
    }
  }

  @Test("what goes on from a response, or in a conversation, is said once: no branch, no second message")
  func continued() async throws {
    try await World.run { world in
      let one = try await world.submit(.sdk("say one", key: "test:a"))
      _ = try await one.finished()
      let conversation = try await world.controlPlane.openConversation(owner: .local, metadata: .null, items: [])
      let choices: [TurnRequest.SessionChoice] = [
        .continuing(replyID: one.reply.wireID), .conversation(conversation.id), .key(try ThreadKey("test:b")),
      ]
      for (number, session) in choices.enumerated() {
        let text = "count f\(number); say two"
        let first = try await world.submit(Self.asked(text, retries: 0).with { $0.session = session })
        _ = try await first.finished()
        let again = try await world.submit(Self.asked(text, retries: 1).with { $0.session = session })
        #expect(again.reply == first.reply)
        let key = first.session.key.rawValue
        #expect(try await world.lines("f\(number)", of: key) == ["x"])
        #expect(try await world.log(key).count { $0.payload == .messageAppended(.said(text)) } == 1)
      }
      #expect(try await Self.sessions(world).count == 3)
    }
  }

  @Test("the next server's retries find what an earlier one began, each another one, and then no more")
  func nextServer() async throws {
    try await World.run(hasServer: false) { world in
      let first = world.startServer("node-1")
      var begun: Set<String> = []
      for _ in 0..<2 {
        let turn = try await within { try await first.controlPlane.submit(Self.asked("count f; say a", retries: 0)) }
        begun.insert(turn.reply.wireID)
      }
      try await first.shutDown()
      let next = world.startServer("node-2")
      var found: Set<String> = []
      for _ in 0..<2 {
        let turn = try await within { try await next.controlPlane.submit(Self.asked("count f; say a", retries: 1)) }
        #expect(try await turn.finished().texts == ["a"])
        turn.requestTry?.isTold()
        #expect(try await world.lines("f", of: turn.session.key.rawValue) == ["x"])
        found.insert(turn.reply.wireID)
      }
      #expect(found == begun)
      let third = try await within { try await next.controlPlane.submit(Self.asked("count f; say a", retries: 1)) }
      #expect(!third.isReplay)
      _ = try await third.finished()
      try await next.shutDown()
    }
  }

  @Test("an answer is given to a retry as long as a library waits for it, and not for ever")
  func window() async throws {
    let minutes = Mutex(Int64(0))
    let clock = WallClock { WallClock.system.now + .seconds(minutes.withLock { $0 } * 60) }
    try await World.run(hasServer: false) { world in
      let node = world.startServer("node-1", clock: clock)
      func ask(_ retries: Int) async throws -> AdmittedTurn {
        let turn = try await within { try await node.controlPlane.submit(Self.asked("say a", retries: retries)) }
        _ = try await turn.finished()
        return turn
      }
      let first = try await ask(0)
      minutes.withLock { $0 = 10 }
      #expect(try await ask(1).reply == first.reply)
      minutes.withLock { $0 = 12 }
      #expect(try await ask(2).reply != first.reply)
      try await node.shutDown()
    }
  }

  @Test("another owner's request is another one, and a CLI's retries are told by their own rules")
  func notRetries() async throws {
    try await World.run { world in
      let first = try await Self.leave(world, Self.asked("say a", retries: 0))
      let stranger = try await world.submit(Self.asked("say a", retries: 1, owner: Owner(rawValue: "stranger")))
      #expect(!stranger.isReplay)
      _ = try await stranger.finished()
      let key = try ThreadKey("test:cli")
      let cli = try await world.submit(
        Self.asked("say a", retries: 1).with {
          $0.client = .cli
          $0.session = .key(key)
        })
      #expect(cli.reply.wireID != first)
      #expect(cli.requestTry == nil)
      _ = try await cli.finished()
    }
  }

  @Test("an Idempotency-Key alone stands for its request among all of the owner's sessions, whatever came of it")
  func named() async throws {
    try await World.run { world in
      for (text, end) in [("count f; say a", "completed"), ("exit 3", "failed (harness_died)")] {
        let first = try await world.submit(Self.asked(text, retries: nil, key: text))
        #expect(try await first.finished().ends == [end])
        // Also one that counts its tries, and one that does not know that it is a retry.
        for retries in [nil, 0, 1] {
          let again = try await world.submit(Self.asked(text, retries: retries, key: text))
          #expect(again.isReplay)
          #expect(again.reply == first.reply)
        }
      }
      #expect(try await Self.sessions(world).count == 2)
      let error = await #expect(throws: CentaurError.self) {
        try await world.submit(Self.asked("say b", retries: nil, key: "exit 3"))
      }
      #expect(error?.code == .idempotencyConflict)
      let stranger = try await world.submit(
        Self.asked("exit 3", retries: nil, owner: Owner(rawValue: "stranger"), key: "exit 3"))
      #expect(!stranger.isReplay)
      _ = try await stranger.finished()
      #expect(try await Self.sessions(world).count == 2)
    }
  }

  @Test("requests of one name that come at once are one")
  func namedAtOnce() async throws {
    try await World.run { world in
      let ids = try await withThrowingTaskGroup(of: String.self) { group in
        for _ in 0..<10 {
          group.addTask { try await Self.leave(world, Self.asked("say a", retries: nil, key: "k")) }
        }
        return try await group.reduce(into: Set<String>()) { $0.insert($1) }
      }
      #expect(ids.count == 1)
      #expect(try await Self.sessions(world).count == 1)
    }
  }

  @Test("a request of a name that was refused leaves its name free")
  func namedRefused() async throws {
    try await World.run { world in
      let allowance = TurnAllowance(limit: 1)
      let first = try await world.controlPlane.submit(Self.asked("hold", retries: nil), within: allowance)
      let other = try Self.asked("say a", retries: nil, key: "k")
      await #expect(throws: CentaurError.self) { try await world.controlPlane.submit(other, within: allowance) }
      try await world.controlPlane.end(first, reason: "cancelled")
      _ = try await first.finished()
      #expect(try await world.controlPlane.submit(other, within: allowance).finished().texts == ["a"])
    }
  }
}
