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
  /// What it was started for. Of one that waited for its session: what it is to serve now.
  var context: HarnessContext
  var machine: any HarnessMachine
  var splitter: HarnessLineSplitter
  var reader: Task<Void, Never>?
  /// Output before this offset was given back to the spool.
  var released: Int64 = 0
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
    generation += 1
    let number = generation
    startingProcess = number
    let begun = ContinuousClock.now
    let stopping = lastStop
    let services = services
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
          try await HarnessStart(session: session, setup: setup, services: services)
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
    generation += 1
    var process = claimed.process
    process.generation = generation
    attend(process)
  }

  /// Listens to a process from here on.
  private func attend(_ started: HarnessProcess) {
    process = started
    guard !hasEnded else { return }
    let sandbox = started.sandbox
    let number = started.generation
    let offset = started.splitter.unread
    // It holds the drive for as long as the process lives; `discardProcess` ends it.
    process?.reader = Task {
      await withTaskGroup { group in
        group.addTask {
          guard let limit = await sandbox.limitExceeded() else { return }
          self.post { drive in await drive.exceeded(limit, number) }
        }
        await follow(sandbox, number, from: offset)
        group.cancelAll()
      }
    }
    schedule(.start, after: services.configuration.limits.harnessStart) { drive in
      guard drive.process?.isReady == false else { return }
      await drive.processEnded(HarnessExit(status: nil, reason: "it did not become ready in time"))
    }
  }

  /// Passes on what a sandbox tells until its link ends.
  private nonisolated func follow(_ sandbox: any SandboxHandle, _ number: Int, from offset: Int64) async {
    do {
      try await sandbox.withLink(fence: Int64(number), offset: offset) { link, events in
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
    guard let process, process.isClaimed else { return await drive { $0.launched() } }
    await drive { $0.claimed(by: process.context) }
  }

  // MARK: What the harness says

  /// Gives the machine an input and carries out what it wants.
  func drive(_ input: (inout any HarnessMachine) -> [HarnessAction]) async {
    await perform(process?.give(input) ?? [])
  }

  private func received(_ event: ShimEvent, from number: Int) async {
    guard process?.generation == number else { return }
    switch event {
    case .output(let offset, let bytes): await read(bytes, at: offset)
    case .accepted: break
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

  private func read(_ bytes: [UInt8], at offset: Int64) async {
    do {
      guard let lines = try process?.splitter.feed(bytes, at: offset) else { return }
      var actions: [HarnessAction] = []
      for line in lines { actions += process?.machine.read(line) ?? [] }
      await perform(actions)
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

  /// What is in the log need not stay in the spool.
  private func giveBackSpool() async {
    guard let process, process.splitter.unread - process.released >= 1 << 20 else { return }
    self.process?.released = process.splitter.unread
    await tell { try await $0.release(before: process.splitter.unread) }
  }

  /// Carries out what a machine wants: first what is for the log, in one commit, then the rest in order.
  ///
  /// A message that the harness has taken is in the log before what the harness did next, so the commit is parted there.
  private func perform(_ actions: [HarnessAction]) async {
    if actions.contains(.stop) {
      process?.isDoomed = true
      process?.hasAnotherWay = actions.contains { if case .saveState = $0 { true } else { false } }
    }
    do {
      var rest = actions[...]
      while !rest.isEmpty {
        let end = rest.firstIndex { if case .steered = $0 { true } else { false } } ?? rest.index(before: rest.endIndex)
        try await performAtOnce(rest[...end])
        rest = rest[(end + 1)...]
      }
    } catch {
      await lost(error)
    }
  }

  private func performAtOnce(_ actions: ArraySlice<HarnessAction>) async throws {
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
    if !drafts.isEmpty || state != nil {
      try await commit(drafts, harnessState: state)
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
    case .send(let id, let bytes): await tell { try await $0.send(inputID: id, bytes: bytes, closesInput: false) }
    case .closeInput(let id): await tell { try await $0.send(inputID: id, bytes: [], closesInput: true) }
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
      schedule(.harness(timer), after: duration) { drive in await drive.drive { $0.timerFired(timer) } }
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
