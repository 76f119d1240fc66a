import Harness
import Logging
import Sandbox
import SessionModel
import ShimProtocol

/// Sandboxes in which a harness is up and waits for a session, so that a new session need not wait for a harness.
///
/// Each is made under a session id that is nobody's yet, in that id's own directories: paths, the harness's name for its
/// conversation and what the gateway knows are right from the start. A new session that it fits takes the id and the
/// sandbox with it, for good; no sandbox serves two. Where none fits the session starts cold.
///
/// The pool takes places that are free and nothing else: it is the first to give way to a turn that needs one, and it
/// never ends a session's sandbox. It is filled up in the background. A harness that cannot be started is tried again
/// after a time that doubles.
///
/// Concurrency: the actor guards the members. `run` owns a task for each from its start to its end or its claim; from the
/// claim on it is the session's drive that owns the sandbox. `shutDown` ends what waits; `run` returns when all is gone.
actor WarmPool {
  /// A sandbox that is a session's from now on.
  struct Claimed: Sendable {
    /// The id that the session takes.
    var session: SessionID
    var process: HarnessProcess
  }

  /// What a new session needs of a sandbox.
  struct Wish: Sendable {
    var harness: HarnessName
    var persona: String?
    var instructions: String?
    /// The turn that the session is made for.
    var turn: TurnWishes?
    var history: [Message] = []
  }

  private struct Member {
    var harness: HarnessName
    let begun = ContinuousClock.now
    /// There once it has been started.
    var process: HarnessProcess?
    var reader: Task<Void, Never>?
    var isReady = false
    /// It is to end: a turn needs its place, or the server ends.
    var isUnwanted = false
  }

  /// A harness that could not be started is left alone for a while.
  private struct Pause {
    var failures: Int
    var isOver = false
    var timer: Task<Void, Never>?
  }

  private let services: SessionDrive.Services
  private let targets: [(harness: HarnessName, count: Int)]
  private let marks: WarmPoolMarks
  private let firstPause: Duration
  private var members: [SessionID: Member] = [:] {
    didSet { services.metrics.sandboxesWaiting.record(ready.count) }
  }
  private var pauses: [HarnessName: Pause] = [:]
  /// Rings the bell a little after a claim.
  private var refill: Task<Void, Never>?
  private var isShuttingDown = false
  private let wishes: AsyncStream<Void>
  private let bell: AsyncStream<Void>.Continuation

  /// - Parameter firstPause: before a harness that failed is tried again; it doubles up to five minutes
  /// - Returns: nil where nothing is to wait
  init?(_ services: SessionDrive.Services, firstPause: Duration = .seconds(1)) {
    let configuration = services.configuration
    targets = configuration.warmPool.sorted { $0.key.rawValue < $1.key.rawValue }
      .filter { $0.value > 0 && configuration.harnesses[$0.key]?.adapter.lifetime == .session }
      .map { (harness: $0.key, count: $0.value) }
    // A copy or a clone is of the moment in which its session begins.
    guard !targets.isEmpty, configuration.workspace == .empty else { return nil }
    self.services = services
    self.firstPause = firstPause
    marks = WarmPoolMarks(data: configuration.dataDirectory, node: configuration.node)
    (wishes, bell) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
  }

  /// Fills the pool, and keeps it full until `shutDown`.
  func run() async {
    services.capacity.whenFree { [bell] in bell.yield() }
    bell.yield()
    await withDiscardingTaskGroup { group in
      for await _ in wishes {
        for (id, harness) in begin() { group.addTask { await self.keep(id, harness) } }
      }
    }
  }

  /// Ends what waits; `run` returns when it is gone.
  func shutDown() {
    isShuttingDown = true
    for id in members.keys { giveUp(id) }
    for pause in pauses.values { pause.timer?.cancel() }
    refill?.cancel()
    bell.finish()
  }

  // MARK: Claim

  /// Gives a waiting sandbox to a session that is about to be made; nil where none is ready or none fits.
  func claim(_ wish: Wish) -> Claimed? {
    let persona = wish.persona.flatMap { services.configuration.personas[$0] }
    guard persona?.fitsAnySandbox ?? true, let setup = services.configuration.harnesses[wish.harness] else {
      return nil
    }
    guard let id = ready.first(where: { members[$0]?.harness == wish.harness }), var process = members[id]?.process
    else { return nil }
    guard var context = process.context else { return nil }
    context.instructions = HarnessStart.instructions(persona, wish.instructions)
    context.turn = wish.turn
    context.history = wish.history
    guard setup.adapter.canBeClaimed(by: context) else { return nil }
    process.context = context
    process.origin = .warm
    process.startedAt = .now
    services.capacity.leavesPool(id)
    members.removeValue(forKey: id)?.reader?.cancel()
    pauses[wish.harness] = nil
    refillSoon()
    return Claimed(session: id, process: process)
  }

  /// The session that a sandbox was given to is in the log.
  nonisolated func settled(_ id: SessionID) { marks.remove(id) }

  /// The session that a sandbox was given to did not come to be. It ends: nobody knows what it was told.
  func discard(_ claimed: Claimed) async {
    await SessionDrive.takeDown(claimed.process.sandbox, session: claimed.session, services)
    forget(claimed.session)
  }

  /// The ids of those that may be claimed, the oldest first.
  var ready: [SessionID] {
    members.filter { $0.value.isReady && !$0.value.isUnwanted }.keys.sorted { $0.rawValue < $1.rawValue }
  }

  /// How often in a row a harness did not come up.
  func failures(of harness: HarnessName) -> Int { pauses[harness]?.failures ?? 0 }

  // MARK: Filling up

  /// A harness that comes up takes all of a processor: not while the one that was taken has its first turn to answer.
  private func refillSoon() {
    guard refill == nil, !isShuttingDown else { return }
    refill = Task {
      guard (try? await Task.sleep(for: .milliseconds(500))) != nil else { return }
      self.refillNow()
    }
  }

  private func refillNow() {
    refill = nil
    bell.yield()
  }

  /// Takes places for what is missing.
  private func begin() -> [(SessionID, HarnessName)] {
    guard !isShuttingDown, refill == nil else { return [] }
    var begun: [(SessionID, HarnessName)] = []
    for (harness, count) in targets where pauses[harness]?.isOver ?? true {
      while members.values.count(where: { $0.harness == harness && !$0.isUnwanted }) < count {
        let id = services.ids.session()
        let isTaken = services.capacity.takeForPool(id) { [weak self] in
          Task { await self?.makeRoom(id) }
        }
        guard isTaken else { return begun }
        members[id] = Member(harness: harness)
        begun.append((id, harness))
      }
    }
    return begun
  }

  /// One sandbox, from its start until it is claimed or gone.
  private func keep(_ id: SessionID, _ harness: HarnessName) async {
    var process: HarnessProcess?
    do {
      try marks.add(id)
      let started = try await start(id, harness)
      process = started
      await attend(started, id)
    } catch {
      services.logger.error("a harness for the warm pool did not start", metadata: ["error": "\(error)"])
    }
    // One that was claimed is no member any more.
    guard let member = members.removeValue(forKey: id) else { return }
    services.capacity.leavesPool(id)
    if !member.isUnwanted { pause(member) }
    if let process {
      await SessionDrive.takeDown(process.sandbox, session: id, services)
    } else {
      services.capacity.giveBack()
    }
    forget(id)
    bell.yield()
  }

  private func start(_ id: SessionID, _ harness: HarnessName) async throws -> HarnessProcess {
    guard let setup = services.configuration.harnesses[harness] else {
      throw CentaurError(.harnessStart, "This server does not have the harness '\(harness)'.")
    }
    // A session that nobody will find: no log, no client.
    let session = Session(
      id: id, owner: .local, key: try ThreadKey("pool:\(id)"), harness: harness, persona: nil, instructions: nil,
      createdAt: services.clock.now)
    return try await HarnessStart(session: session, setup: setup, services: services, turn: nil)
      .start(generation: 0, begun: .now)
  }

  /// Reads what a harness says until it is claimed, ends, or is to end.
  private func attend(_ started: HarnessProcess, _ id: SessionID) async {
    guard members[id]?.isUnwanted == false else { return }
    let sandbox = started.sandbox
    let reader = Task {
      do {
        try await sandbox.withLink(fence: 0, offset: 0) { link, events in
          var events = events
          var isOfUse = try await self.perform({ $0.launchedWithoutSession() }, id, link)
          while isOfUse, let event = try await events.next() { isOfUse = try await self.received(event, id, link) }
        }
      } catch {
        services.logger.debug("the link to a sandbox ended", metadata: ["error": "\(error)"])
      }
    }
    members[id]?.process = started
    members[id]?.reader = reader
    let limit = services.configuration.limits.harnessStart
    let alarm = Task {
      guard (try? await Task.sleep(for: limit)) != nil else { return }
      self.overdue(id)
    }
    await reader.value
    alarm.cancel()
  }

  /// - Returns: whether the harness is of use still
  private func received(_ event: ShimEvent, _ id: SessionID, _ link: ShimLink) async throws -> Bool {
    switch event {
    case .accepted, .swept: return true
    case .exited(let exit):
      services.logger.notice(
        "a harness of the warm pool ended by itself",
        metadata: ["exit": "\(exit.status ?? -1)", "signal": "\(exit.signal ?? 0)", "stderr": "\(exit.stderrTail)"])
      return false
    case .output(let offset, let bytes):
      guard let lines = try members[id]?.process?.splitter.feed(bytes, at: offset) else { return false }
      return try await perform({ machine in lines.flatMap { machine.read($0) } }, id, link)
    }
  }

  /// Gives a machine an input and carries out what it wants; what is for a log is nobody's.
  private func perform(
    _ input: @Sendable (inout any HarnessMachine) -> [HarnessAction], _ id: SessionID, _ link: ShimLink
  ) async throws -> Bool {
    let actions = members[id]?.process?.give(input) ?? [.stop]
    if actions.contains(.ready) { members[id]?.isReady = true }
    for action in actions {
      if case .send(let inputID, let bytes) = action { try await link.send(inputID: inputID, bytes: bytes) }
    }
    return !actions.contains(.stop)
  }

  // MARK: End

  /// A turn needs a place. One that has been claimed since cannot give it: the wish goes on to the next.
  private func makeRoom(_ id: SessionID) {
    if members[id] == nil { services.capacity.staysBusy() } else { giveUp(id) }
  }

  private func giveUp(_ id: SessionID) {
    members[id]?.isUnwanted = true
    members[id]?.reader?.cancel()
  }

  private func overdue(_ id: SessionID) {
    guard members[id]?.isReady == false else { return }
    services.logger.error("a harness for the warm pool did not become ready in time")
    members[id]?.reader?.cancel()
  }

  private func pause(_ member: Member) {
    // One that has lived for long does not fail at each start.
    let hasLived = member.isReady && member.begun.duration(to: .now) > .seconds(60)
    let failures = hasLived ? 1 : (pauses[member.harness]?.failures ?? 0) + 1
    let length = min(firstPause * (1 << min(failures - 1, 16)), .seconds(300))
    services.logger.warning(
      "the warm pool waits before it starts a harness again",
      metadata: ["harness": "\(member.harness)", "failures": "\(failures)", "pause": "\(length)"])
    let timer = Task {
      guard (try? await Task.sleep(for: length)) != nil else { return }
      self.pauseEnds(member.harness)
    }
    pauses[member.harness]?.timer?.cancel()
    pauses[member.harness] = Pause(failures: failures, timer: timer)
    if isShuttingDown { timer.cancel() }
  }

  private func pauseEnds(_ harness: HarnessName) {
    pauses[harness]?.isOver = true
    bell.yield()
  }

  /// Removes what a sandbox that nobody took has left.
  private func forget(_ id: SessionID) {
    SessionDirectories(data: services.configuration.dataDirectory, session: id).remove()
    marks.remove(id)
  }
}
