import Harness
import Logging
import Metrics
import Sandbox
import SessionModel
import ShimProtocol

/// A harness process that serves the session: the shim's link to it, and the machine that speaks its protocol.
struct HarnessProcess {
  /// Tells steps of this process from those of an earlier one.
  var generation: Int
  let sandbox: any SandboxHandle
  /// There once the shim is reached.
  var link: ShimLink?
  let lifetime: HarnessLifetime
  var origin: SandboxReady.Origin
  var startedAt: ContinuousClock.Instant
  /// What it was started for. Of one that waited for its session: what it is to serve now. Nil for one that was taken
  /// over: its machine knows.
  var context: HarnessContext?
  var machine: any HarnessMachine
  var splitter: HarnessLineSplitter
  var reader: Task<Void, Never>?
  /// Output before this offset is not needed to rebuild the machine: a snapshot of it is in the journal.
  var savedUpTo: Int64 = 0
  /// Output before this offset was given back to the spool.
  var released: Int64 = 0
  /// What its shim has not taken yet, in order.
  var onTheWay: [InputFrame] = []
  /// Signals for a harness that is not reached yet.
  var signals: [Int32] = []
  /// An earlier server started it.
  var isTakenOver = false
  /// Another server can take it over: a snapshot of its machine is in the journal.
  var isInJournal = false
  /// The harness takes turns.
  var isReady = false
  /// The machine wants it to be ended: no turn is given to it any more.
  var isDoomed = false
  /// What the machine saved when it gave up lets the next process begin otherwise.
  var hasAnotherWay = false
  /// What the last turn started is being ended; where that fails the sandbox ends, and must not have the next turn.
  var isSweeping = false
  /// It is being ended; nothing more is given to it.
  var isEnding = false

  var takesTurns: Bool { isReady && !isDoomed && !isSweeping }
  /// It was up before its session was there.
  var isClaimed: Bool { origin == .warm }

  init(
    generation: Int, sandbox: any SandboxHandle, lifetime: HarnessLifetime, origin: SandboxReady.Origin,
    startedAt: ContinuousClock.Instant, context: HarnessContext?, machine: any HarnessMachine,
    splitter: HarnessLineSplitter
  ) {
    self.generation = generation
    self.sandbox = sandbox
    self.lifetime = lifetime
    self.origin = origin
    self.startedAt = startedAt
    self.context = context
    self.machine = machine
    self.splitter = splitter
  }

  /// One that an earlier server has led to where `replay` ends.
  init(
    takenOver replay: HarnessReplay, sandbox: any SandboxHandle, setup: ControlPlaneConfiguration.HarnessSetup,
    generation: Int, _ services: SessionDrive.Services
  ) {
    self.init(
      generation: generation, sandbox: sandbox, lifetime: setup.adapter.lifetime, origin: .resumed, startedAt: .now,
      context: nil, machine: replay.machine,
      splitter: HarnessLineSplitter(limit: services.configuration.limits.harnessLine, at: replay.offset))
    isTakenOver = true
    isInJournal = true
    isReady = true
    savedUpTo = replay.offset
    released = replay.offset
    onTheWay = replay.frames
    signals = replay.signals
  }

  mutating func give(_ input: (inout any HarnessMachine) -> [HarnessAction]) -> [HarnessAction] { input(&machine) }
}

/// The session's harness process: its start, and what it says.
extension SessionDrive {
  // MARK: Start

  /// Refuses a turn that would need a sandbox where none can be had.
  /// - Throws: `CentaurError` with `tooManyTurns`
  func checkCapacity() throws(CentaurError) {
    guard process == nil, startingProcess == nil, !isPromisedPlace else { return }
    try services.capacity.promise()
    isPromisedPlace = true
  }

  func startProcess() async {
    guard process == nil, startingProcess == nil, let session else { return }
    guard let setup = services.configuration.harnesses[session.harness] else {
      let message = "This server does not have the session's harness, '\(session.harness)'."
      return await processFailed(CentaurError(.harnessStart, message))
    }
    let isPromised = isPromisedPlace
    isPromisedPlace = false
    let number = nextGeneration()
    startingProcess = number
    let begun = ContinuousClock.now
    let stopping = lastStop
    let services = services
    let tools = queue.first?.execution.options.tools ?? []
    schedule(.place, after: services.configuration.limits.sandboxWait) { await $0.placeOverdue() }
    start = Task {
      // An earlier process of the session must be gone first: a harness refuses a second writer of a conversation.
      await stopping?.value
      do {
        try await services.capacity.take(promised: isPromised)
      } catch {
        post { drive in
          drive.startingProcess = nil
          // The last turn that waited was cancelled; another may have come since.
          await drive.startNextTurn()
        }
        return
      }
      post { drive in if drive.startingProcess == number { drive.cancel(.place) } }
      do {
        // Of its own: what was begun is not cancelled half way, or a process would stay that nobody knows of.
        let process = try await Task {
          try await HarnessStart(session: session, setup: setup, services: services, tools: tools)
            .start(generation: number, begun: begun)
        }.value
        guard post({ drive in await drive.processStarted(process) }) else {
          // The drive has ended in the meantime.
          await Self.takeDown(process.sandbox, of: session, services)
          return
        }
      } catch {
        services.capacity.giveBack()
        post { drive in await drive.processFailed(error) }
      }
    }
  }

  private func processFailed(_ error: any Error) async {
    startingProcess = nil
    let failure =
      error as? CentaurError ?? CentaurError(.harnessStart, "The harness could not be started.")
    logger.error("harness start failed", metadata: ["error": "\(error)"])
    do { try await failQueue(failure) } catch { await lost(error) }
  }

  private func processStarted(_ started: HarnessProcess) async {
    startingProcess = nil
    attend(started)
    if hasEnded { discardProcess() }
  }

  /// Makes a process that waited in the warm pool the session's own.
  func adopt(_ claimed: WarmPool.Claimed) {
    services.pool?.settled(claimed.session)
    var process = claimed.process
    process.generation = nextGeneration()
    attend(process)
  }

  /// Listens to a process from here on.
  func attend(_ started: HarnessProcess) {
    process = started
    guard !hasEnded else { return }
    let sandbox = started.sandbox
    let number = started.generation
    let offset = started.splitter.end
    // Newer than every attachment under an earlier lease.
    let fence = (token?.epoch ?? 0) << 24 + Int64(number)
    // It holds the drive for as long as the process lives; `discardProcess` ends it.
    process?.reader = Task {
      await withTaskGroup { group in
        group.addTask {
          guard let limit = await sandbox.limitExceeded() else { return }
          self.post { drive in await drive.exceeded(limit, number) }
        }
        await follow(sandbox, number, fence: fence, from: offset)
        group.cancelAll()
      }
    }
    schedule(.start, after: services.configuration.limits.harnessStart) { drive in
      guard drive.process?.isReady == false else { return }
      await drive.processEnded(HarnessExit(status: nil, reason: "it did not become ready in time"))
    }
  }

  /// Passes on what a sandbox tells until its link ends.
  private nonisolated func follow(
    _ sandbox: any SandboxHandle, _ number: Int, fence: Int64, from offset: Int64
  ) async {
    do {
      try await sandbox.withLink(fence: fence, offset: offset) { link, events in
        var events = events
        try await serially { drive in await drive.linked(link, number) }
        // One chunk at a time: what the drive cannot take yet waits in the shim's spool.
        while let event = try await events.next() {
          try await serially { drive in await drive.received(event, from: number) }
        }
      }
    } catch {
      logger.debug("the link to a sandbox ended", metadata: ["error": "\(error)"])
    }
    post { drive in await drive.linkEnded(number) }
  }

  private func linked(_ link: ShimLink, _ number: Int) async {
    guard process?.generation == number else { return }
    process?.link = link
    guard let process else { return }
    if process.isTakenOver { return await reach(process, link) }
    guard process.isClaimed, let context = process.context else { return await drive { $0.launched() } }
    await drive { $0.claimed(by: context) }
  }

  /// Gives a harness of an earlier server what that one may not have given it any more.
  private func reach(_ process: HarnessProcess, _ link: ShimLink) async {
    let taken = Set(link.hello.takenInputIDs)
    self.process?.onTheWay.removeAll { taken.contains($0.id) }
    self.process?.signals = []
    // Heeded once: before a turn has begun, nothing but the harness runs.
    await tell { try await $0.keep() }
    for signal in process.signals { await tell { try await $0.signal(signal) } }
    for frame in self.process?.onTheWay ?? [] { await send(frame) }
    if running == nil { await sweepProcess() }
  }

  // MARK: What the harness says

  /// Gives the machine an input and carries out what it wants.
  /// - Parameter written: how the journal has the input; nil where the harness does not take turns yet, or it is there
  func drive(_ written: HarnessInput? = nil, _ input: (inout any HarnessMachine) -> [HarnessAction]) async {
    let offset = process?.splitter.unread ?? 0
    let actions = process?.give(input) ?? []
    await perform(actions, after: actions.isEmpty ? nil : written.map { .input($0, offset: offset) })
  }

  private func received(_ event: ShimEvent, from number: Int) async {
    guard process?.generation == number else { return }
    switch event {
    case .output(let offset, let bytes): await read(bytes, at: offset)
    case .accepted(let id): process?.onTheWay.removeAll { $0.id == id }
    case .swept:
      process?.isSweeping = false
      await startNextTurn()
    case .exited(let exit):
      // What it said may name things of this machine: it is for the operator.
      logger.notice(
        "the harness ended by itself",
        metadata: ["exit": "\(exit.status ?? -1)", "signal": "\(exit.signal ?? 0)", "stderr": "\(exit.stderrTail)"])
      if exit.lostOutput, running?.failure == nil {
        running?.failure = CentaurError(
          .spoolFailed, "The agent was ended: what it prints can not be kept, the server's disk takes no more.")
      }
      if let limit = await process?.sandbox.exceededLimit() { return await exceeded(limit, number) }
      await processEnded(HarnessExit(status: exit.status, signal: exit.signal))
    }
  }

  /// What runs in the sandbox took more than it may: the turn fails with that, and the next one has a new sandbox.
  private func exceeded(_ limit: SandboxLimit, _ number: Int) async {
    guard process?.generation == number, process?.isEnding == false else { return }
    let error = limit.error(services.configuration.limits.sandbox)
    logger.notice("a sandbox exceeded a limit", metadata: ["code": "\(error.code)"])
    if running?.failure == nil { running?.failure = error }
    await processEnded(HarnessExit(status: nil, reason: error.code.rawValue))
  }

  func read(_ bytes: [UInt8], at offset: Int64) async {
    do {
      guard let lines = try process?.splitter.feed(bytes, at: offset) else { return }
      var actions: [HarnessAction] = []
      for line in lines { actions += process?.machine.read(line) ?? [] }
      // A turn may end before it is seen that something in the sandbox has run into a limit.
      let number = process?.generation
      let limit = actions.contains(where: \.endsTurn) ? await process?.sandbox.exceededLimit() : nil
      if let limit, running?.failure == nil { running?.failure = limit.error(services.configuration.limits.sandbox) }
      await perform(actions)
      if let limit, let number { return await exceeded(limit, number) }
      guard await endsWordyTurn() == false else { return }
      await giveBackSpool()
    } catch {
      logger.error("the harness's output could not be read", metadata: ["error": "\(error)"])
      if running?.failure == nil { running?.failure = error }
      await processEnded(HarnessExit(status: nil, reason: "it printed a line that is too long"))
    }
  }

  /// Ends a turn that has filled the log beyond its limit, with its process: one that is only asked to stop would print on.
  private func endsWordyTurn() async -> Bool {
    let limit = services.configuration.limits.turnOutput
    guard let output = running?.output, output > limit, running?.failure == nil else { return false }
    running?.failure = CentaurError(
      .turnOutputLimit, "The turn's output went beyond its limit of \(limit) bytes, and the turn was ended.")
    await processEnded(HarnessExit(status: nil, reason: CentaurError.Code.turnOutputLimit.rawValue))
    return true
  }

  /// What is in the log, and the machine's own state with it, need not stay in the spool.
  private func giveBackSpool() async {
    guard let process, process.savedUpTo - process.released >= 1 << 20 else { return }
    self.process?.released = process.savedUpTo
    await tell { try await $0.release(before: process.savedUpTo) }
  }

  /// Carries out what a machine wants: first what is for the log, in one commit, then the rest in order.
  ///
  /// A message that the harness has taken is in the log before what the harness did next, so the commit is parted there.
  /// - Parameter entry: the input that it wants this for, for the journal
  private func perform(_ actions: [HarnessAction], after entry: HarnessJournalEntry? = nil) async {
    if actions.contains(.stop) {
      process?.isDoomed = true
      process?.hasAnotherWay = actions.contains { if case .saveState = $0 { true } else { false } }
    }
    do {
      var rest = actions[...]
      while let steered = rest.firstIndex(where: { if case .steered = $0 { true } else { false } }),
        steered + 1 < rest.endIndex
      {
        try await performAtOnce(rest[...steered])
        rest = rest[(steered + 1)...]
      }
      // Made last: what the parts before have carried out is in it.
      try await performAtOnce(rest, journal: try journalChange(rest, entry))
    } catch {
      await lost(error)
    }
  }

  private func performAtOnce(_ actions: ArraySlice<HarnessAction>, journal: HarnessJournalChange? = nil) async throws {
    var drafts: [EventDraft] = []
    var state: JSONValue?
    for action in actions {
      switch action {
      case .emit(let draft): drafts.append(corrected(draft))
      case .saveState(let newState): state = newState
      default: break
      }
    }
    if actions.contains(.ready), let ready = sandboxReady() { drafts.insert(EventDraft(ready), at: 0) }
    if !drafts.isEmpty || state != nil || journal != nil {
      noteWaits(try await commit(drafts, harnessState: state, harnessJournal: [journal].compactMap(\.self)))
      if case .restart = journal, let read = process?.splitter.unread {
        process?.savedUpTo = read
        process?.isInJournal = true
      }
      for draft in drafts where draft.executionID == running?.execution.id {
        running?.output += draft.payload.logSize
      }
      services.metrics.events.increment(by: drafts.count)
      for draft in drafts { services.metrics.turnEnded(draft.payload) }
    }
    for action in actions { await carryOut(action) }
  }

  private func sandboxReady() -> EventPayload? {
    guard let process else { return nil }
    let duration = process.startedAt.duration(to: .now)
    services.metrics.sandboxStart.record(duration: duration)
    services.metrics.sandboxReady(process.origin)
    return .sandboxReady(
      SandboxReady(
        id: process.sandbox.id, backend: services.sandboxes.name, origin: process.origin, duration: duration))
  }

  private func carryOut(_ action: HarnessAction) async {
    switch action {
    case .emit, .saveState: break
    case .send, .closeInput: if let frame = action.frame { await give(frame) }
    case .signal(let signal): await tell { try await $0.signal(signal) }
    case .ready:
      process?.isReady = true
      cancel(.start)
      await tell { try await $0.keep() }
      await startNextTurn()
    case .turnEnded(let id): await turnEnded(id)
    case .steered(let inputID): await steerAnswered(inputID, isTaken: true)
    case .steerRejected(let inputID): await steerAnswered(inputID, isTaken: false)
    case .startTimer(let timer, let duration):
      schedule(harness: timer, after: duration)
    case .cancelTimer(let timer): cancel(.harness(timer))
    case .stop:
      // One that gives up before it takes turns would do so again, unless it has left word of another way (a new
      // conversation in the place of one that is gone): the turns that wait for it are told.
      guard process?.isReady == true || process?.isEnding == true || process?.hasAnotherWay == true else {
        return await processEnded(HarnessExit(status: nil, reason: "it refused to start"))
      }
      await stopProcess(reason: "harness_ended")
      await startNextTurn()
    }
  }

  func schedule(harness timer: HarnessTimer, after duration: Duration) {
    schedule(.harness(timer), after: duration) { drive in await drive.drive(.timer(timer)) { $0.timerFired(timer) } }
  }

  /// Input goes to the harness, now or when its shim is reached.
  private func give(_ frame: InputFrame) async {
    process?.onTheWay.append(frame)
    await send(frame)
  }

  private func send(_ frame: InputFrame) async {
    await tell { try await $0.send(inputID: frame.id, bytes: [UInt8](frame.bytes), closesInput: frame.closesInput) }
  }

  /// Tells the shim something. Where it is gone the link's reader notices too, and ends the process in its turn.
  private func tell(_ body: (ShimLink) async throws -> Void) async {
    guard let link = process?.link else { return }
    do { try await body(link) } catch {
      logger.notice("a sandbox could not be told", metadata: ["error": "\(error)"])
    }
  }

  /// What a turn has started ends with it; the harness stays for the next one.
  func sweepProcess() async {
    guard process?.link != nil else { return }
    process?.isSweeping = true
    await tell { try await $0.sweep() }
  }
}
