import Harness
import Logging
import Metrics
import Sandbox
import SessionModel
import ShimProtocol

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
    let turn = queue.first.map { wishes(of: $0.execution) }
    let token = token
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
          try await HarnessStart(session: session, setup: setup, services: services, turn: turn, token: token)
            .start(generation: number, begun: begun)
        }.value
        guard post({ drive in await drive.processStarted(process) }) else {
          // The drive has ended in the meantime.
          await Self.takeDown(process.sandbox, session: session.id, services)
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
    // The store could not be read: the turns that wait are in it, for whoever opens the session when it can be.
    guard !error.isPassing else { return await lost(error) }
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

  // MARK: What the harness says

  /// Gives the machine an input and carries out what it wants.
  /// - Parameter written: how the journal has the input; nil where the harness does not take turns yet, or it is there
  func drive(_ written: HarnessInput? = nil, _ input: (inout any HarnessMachine) -> [HarnessAction]) async {
    let offset = process?.splitter.unread ?? 0
    let actions = process?.give(input) ?? []
    await perform(actions, after: actions.isEmpty ? nil : written.map { .input($0, offset: offset) })
  }

  func received(_ event: ShimEvent, from number: Int) async {
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
  func exceeded(_ limit: SandboxLimit, _ number: Int) async {
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
      await endsCostlyTurn()
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
    noteStop(actions)
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

  func noteStop(_ actions: [HarnessAction]) {
    guard actions.contains(.stop) else { return }
    process?.isDoomed = true
    process?.hasAnotherWay = actions.contains { if case .saveState = $0 { true } else { false } }
  }

  private func performAtOnce(_ actions: ArraySlice<HarnessAction>, journal: HarnessJournalChange? = nil) async throws {
    var (drafts, state) = logged(actions)
    if actions.contains(.ready), let ready = sandboxReady() { drafts.insert(EventDraft(ready), at: 0) }
    if !drafts.isEmpty || state != nil || journal != nil {
      noteWaits(try await commit(drafts, harnessState: state, harnessJournal: [journal].compactMap(\.self)))
      noteWritten(drafts, journal)
    }
    for action in actions { await carryOut(action) }
  }

  /// What of a machine's actions is for the log, and the adapter's state where it has a new one.
  func logged(_ actions: ArraySlice<HarnessAction>) -> (drafts: [EventDraft], state: JSONValue?) {
    var drafts: [EventDraft] = []
    var state: JSONValue?
    for action in actions {
      switch action {
      case .emit(let draft): drafts.append(corrected(draft))
      case .saveState(let newState): state = newState
      default: break
      }
    }
    return (judged(drafts), state)
  }

  /// What a machine has given is in the log and in the journal.
  func noteWritten(_ drafts: [EventDraft], _ journal: HarnessJournalChange?) {
    if case .restart = journal, let read = process?.splitter.unread {
      process?.savedUpTo = read
      process?.isInJournal = true
    }
    for draft in drafts where draft.executionID == running?.execution.id {
      running?.output += draft.payload.logSize
      switch draft.payload {
      case .usageUpdated(_, let turn): running?.tokens = turn.sum.output
      case .itemStarted(let item), .itemCompleted(let item):
        if item.content.isToolCall { running?.toolCalls.insert(item.ordinal) }
      default: break
      }
    }
    services.metrics.events.increment(by: drafts.count)
    for draft in drafts { services.metrics.turnEnded(draft.payload) }
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

  /// Ends a turn that has written more, or uses more tools, than its client wants, unless that was its last word. One
  /// whose client has been asked for a tool's output ends when that is there: its client was told to go on.
  private func endsCostlyTurn() async {
    guard let running, !running.isInterrupted, !running.isWaiting else { return }
    let options = running.execution.options
    if let limit = options.maxOutputTokens, running.tokens > limit {
      await interruptHarness(reason: TurnOptions.outputLimitReason)
    } else if let limit = options.maxToolCalls, running.toolCalls.count > limit {
      await interruptHarness(reason: TurnOptions.callLimitReason)
    }
  }

  func carryOut(_ action: HarnessAction) async {
    switch action {
    case .emit, .saveState: break
    case .send, .closeInput: if let frame = action.frame { await give(frame) }
    case .signal(let signal): await give(signal: signal)
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
}
