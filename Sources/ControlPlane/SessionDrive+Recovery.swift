import Harness
import Logging
import Sandbox
import SessionModel

/// What a drive does with what an earlier server left: a harness that runs is taken over, with its turn, as if nothing
/// had been; a turn whose harness is gone ends; turns that waited go back in line.
extension SessionDrive {
  func recover(_ session: Session) async throws {
    let open = try await services.store.openExecutions(session.id)
    let active = open.first { $0.status != .queued }
    let journal = try await services.store.harnessJournal(session.id)
    var end = CentaurError(
      .serverRestarted, "The server was restarted while this turn ran; its work was cut off.")
    do {
      try await takeOver(session, active, journal)
    } catch let error as CentaurError where error.code == .sandboxLost {
      logger.error("a harness could not be taken over", metadata: ["error": "\(error)"])
      end = error
    } catch let error as CentaurError where Self.leavesAllAsItIs.contains(error.code) {
      throw error
    } catch {
      // Another version's journal, or a harness that says what this session cannot take: it would be so each time.
      logger.error("a harness could not be taken over", metadata: ["error": "\(error)"])
      abandonProcess()
      running = nil
    }
    try checkAlive()
    try await stopLeftoverSandboxes(session, butFor: process?.sandbox.id)
    if let active, running == nil, try await services.store.execution(active.id)?.status.isTerminal == false {
      try await endLost(active, end, sandbox: HarnessReplay.sandbox(of: journal))
    }
    for execution in open where execution.status == .queued {
      queue.append(QueuedTurn(execution: execution, input: try await input(of: execution)))
    }
    // A steering message that was refused is a turn of its own, newer than what waited before it.
    queue.sort { $0.execution.firstSeq < $1.execution.firstSeq }
    if !queue.isEmpty { await startNextTurn() }
  }

  /// What keeps a server from taking over now, and another one, or this one later, need not keep.
  private static let leavesAllAsItIs: Set<CentaurError.Code> = [.storeUnavailable, .leaseLost, .sandboxVersion]

  private static let sandboxLost = CentaurError(
    .sandboxLost, "The sandbox in which this turn ran is gone; its work was cut off. The next turn has a new one.")

  /// Ends a turn of which nothing is left but its events.
  private func endLost(_ execution: Execution, _ error: CentaurError, sandbox: String?) async throws {
    var folded = OpenTurn()
    try await read(execution) { folded.fold($0) }
    let terminal = EventDraft(.executionFailed(ExecutionFailure(error), folded.usage), execution: execution.id)
    let lost = sandbox.map { EventDraft(.sandboxLost(id: $0, reason: "its harness could not be taken over")) }
    try await commit(
      folded.openItems.map { EventDraft(.itemCompleted($0), execution: execution.id) }
        + [terminal, lost].compactMap(\.self), harnessJournal: [.clear])
  }

  // MARK: Taking over

  /// Goes on with the harness that the journal tells of, and with the turn that it is in.
  private func takeOver(_ session: Session, _ active: Execution?, _ journal: HarnessJournal) async throws {
    guard let id = HarnessReplay.sandbox(of: journal), let setup = services.configuration.harnesses[session.harness]
    else { return }
    let directories = SessionDirectories(data: services.configuration.dataDirectory, session: session.id)
    guard directories.sandboxes.contains(id) else { return }
    var replay = try HarnessReplay(journal, adapter: setup.adapter)
    for begun in replay.begun { replay.turns[begun] = try await turn(begun, active, model: setup.model) }
    let (sandbox, isAlive) = try await services.sandboxes.find(directories.place(of: id, services.configuration.limits))
    try await play(&replay, sandbox.output)
    guard !replay.needsMore else { throw Self.sandboxLost }
    services.capacity.adopt()
    process = HarnessProcess(takenOver: replay, sandbox: sandbox, setup: setup, generation: nextGeneration(), services)
    if let active, replay.execution == active.id {
      running = RunningTurn(
        execution: active, output: replay.output, failure: replay.failure, isInterrupted: replay.isInterrupted)
      try await read(active, withPieces: false) { event in
        running?.waits.fold(event)
        running?.noteAnswer(event.payload)
      }
      restartTimes()
    } else {
      process?.isSweeping = true
    }
    steers = replay.steers
    generation = max(generation, (steers.values.map(\.number).max() ?? 0) + 1)
    try await goOn(replay, isAlive: isAlive)
  }

  /// Reads what the earlier server had read of the harness's output.
  private func play(_ replay: inout HarnessReplay, _ output: SpooledOutput) async throws {
    let begin = replay.offset
    var splitter = HarnessLineSplitter(limit: services.configuration.limits.harnessLine, at: begin)
    var wants = replay.needsMore
    while wants {
      let bytes = try await output.read(from: splitter.end)
      guard !bytes.isEmpty else { break }
      for line in try splitter.feed(bytes, at: splitter.end) where wants { wants = replay.read(line) }
      wants = wants && replay.needsMore
    }
    replay.finish()
  }

  private func goOn(_ replay: HarnessReplay, isAlive: Bool) async throws {
    guard let taken = process else { return }
    let drafts = judged(replay.drafts.map { corrected($0) })
    if !drafts.isEmpty || replay.state != nil {
      noteWaits(try await commit(drafts, harnessState: replay.state))
    }
    if let running, drafts.contains(where: { $0.executionID == running.execution.id && $0.payload.isTerminal }) {
      self.running = nil
      process?.isSweeping = true
    }
    for answer in replay.answers { await steerAnswered(answer.id, isTaken: answer.isTaken) }
    services.metrics.sandboxTakenOver(isAlive: isAlive)
    logger.notice(
      "a harness was taken over",
      metadata: [
        "sandbox": "\(taken.sandbox.id)", "alive": "\(isAlive)",
        "execution": "\(running?.execution.id.rawValue ?? "none")",
      ])
    guard isAlive else { return await readLast() }
    for (timer, duration) in replay.timers { schedule(harness: timer, after: duration) }
    try await commit(
      [EventDraft(.sandboxReattached(id: taken.sandbox.id))], harnessJournal: [.restart(try snapshot().bytes)])
    if replay.isDoomed || taken.lifetime == .turn && running == nil {
      return await stopProcess(reason: "harness_ended")
    }
    attend(taken)
  }

  /// A sandbox that is dead: what its harness had said is in the log before it is given up.
  func readLast() async {
    guard let number = process?.generation else { return }
    // Its last words may end a turn: the next one is not for it.
    process?.isDoomed = true
    while let ended = process, ended.generation == number, !ended.isEnding {
      let bytes: [UInt8]
      do { bytes = try await ended.sandbox.output.read(from: ended.splitter.end) } catch { return await lost(error) }
      guard !bytes.isEmpty else { break }
      await read(bytes, at: ended.splitter.end)
    }
    guard process?.generation == number else { return }
    if running?.failure == nil {
      running?.failure = Self.sandboxLost
    }
    await processEnded(HarnessExit(status: nil, reason: "its sandbox is gone"))
  }

  // MARK: What the log tells

  /// What a turn that began was given, and what the log holds of it that no line of its harness gave.
  private func turn(
    _ id: ExecutionID, _ active: Execution?, model: String
  ) async throws -> HarnessReplay.Turn? {
    guard let execution = id == active?.id ? active : try await services.store.execution(id) else { return nil }
    var (chosen, instructions) = (model, execution.options.instructions)
    var unsourced: Set<EventPayload> = []
    try await read(execution, withPieces: false) { event in
      if case .executionStarted(let model, let noted) = event.payload {
        chosen = model
        instructions = EventPayload.told(noted, instructions)
      }
      if event.source == nil { unsourced.insert(event.payload) }
    }
    let input = try await left(for: execution) + input(of: execution)
    let given = given(execution, input, model: chosen, instructions: instructions)
    return HarnessReplay.Turn(given: given, unsourced: unsourced)
  }

  /// What a turn was asked, as its harness is given it: without what was added once it ran.
  private func input(of execution: Execution) async throws -> [Message] {
    var input = execution.options.leavesPending ? [] : try await readMessages(before: execution)
    var hasStarted = false
    try await read(execution, withPieces: false) { event in
      switch event.payload {
      case .messageAppended(let message) where !hasStarted: input.append(message)
      case .executionStarted: hasStarted = true
      default: break
      }
    }
    return input.map(\.asSaidByUser)
  }

  /// The events of a turn, so far or up to its end: what its session has written since is not looked at.
  /// - Parameter withPieces: also those that an item's end holds (`eventsWithoutPieces`), of which a long turn has many.
  func read(_ execution: Execution, withPieces: Bool = true, _ body: (SessionEvent) -> Void) async throws {
    var cursor = execution.firstSeq - 1
    let end = execution.terminalSeq ?? .max
    let (store, id) = (services.store, execution.sessionID)
    while true {
      let page =
        withPieces
        ? try await store.events(id, after: cursor, limit: 1000)
        : try await store.eventsWithoutPieces(id, after: cursor, limit: 1000)
      for event in page where event.executionID == execution.id && event.seq <= end { body(event) }
      guard let last = page.last, last.seq < end else { return }
      cursor = last.seq
    }
  }

  /// The messages that waited for a turn of the session API: they are in the log before it, with no turn of their own.
  private func readMessages(before execution: Execution) async throws -> [Message] {
    var pending = PendingMessages()
    var cursor: Int64 = 0
    while cursor < execution.firstSeq {
      let page = try await services.store.eventsWithoutPieces(execution.sessionID, after: cursor, limit: 1000)
      guard let last = page.last else { break }
      for event in page where event.seq < execution.firstSeq { pending.fold(event) }
      cursor = last.seq
    }
    return pending.messages
  }

  /// Ends processes of an earlier server that still live in the session's directory.
  private func stopLeftoverSandboxes(_ session: Session, butFor kept: String?) async throws {
    let directories = SessionDirectories(data: services.configuration.dataDirectory, session: session.id)
    for id in directories.sandboxes where id != kept {
      // By now another server may have the session, and this sandbox: the store knows, before there is a shim to ask.
      try await commit([])
      guard await services.sandboxes.stopLeftover(directory: directories.sandbox(id), fence: fence(generation)) else {
        throw CentaurError(.leaseLost, "Another server drives this session.")
      }
      await services.configuration.gateway.close(sandbox: id)
      directories.removeSandbox(id)
    }
  }
}
