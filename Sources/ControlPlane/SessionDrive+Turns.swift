import Harness
import Metrics
import SessionModel

/// The life of a session's turns: one runs, others wait in line.
extension SessionDrive {
  /// Starts the turn at the head of the line, if nothing runs and the harness is there; else sees to it that the
  /// harness comes.
  func startNextTurn() async {
    guard running == nil, let next = queue.first else { return idleIfDone() }
    services.capacity.isBusy(next.execution.sessionID)
    cancel(.idle)
    guard let process, process.takesTurns else { return await startProcess() }
    guard process.machine.serves(wishes(of: next.execution)) else {
      await stopProcess(reason: "turn_options")
      return await startProcess()
    }
    queue.removeFirst()
    do {
      let start = try await turnStart(next.execution)
      let written = try await commit(start.events, instructions: start.instructions, harnessJournal: [start.journal])
      await run(next, start, written)
    } catch { return await lost(error) }
  }

  /// Whether a turn that comes now needs to wait for nothing.
  func isWaiting(for turn: Execution) -> Bool {
    guard running == nil, queue.isEmpty, let process, process.takesTurns else { return false }
    return process.machine.serves(wishes(of: turn))
  }

  /// What a turn asks of the harness.
  func wishes(of turn: Execution) -> TurnWishes {
    TurnWishes(model: chooseModel(turn.options.requestedModel).0, options: turn.options)
  }

  /// The beginning of a turn, for the commit that says so.
  struct TurnStart {
    var model: String
    var events: [EventDraft]
    /// What the agent is told of its instructions.
    var instructions: String?
    /// What turns that ended before they began have left for this one.
    var left: [Message]
    var journal: HarnessJournalChange
  }

  func turnStart(_ execution: Execution) async throws -> TurnStart {
    let line = try await readTurnsInLine()
    let (model, warning) = chooseModel(execution.options.requestedModel)
    let told = instructionsToTell(execution, line)
    let noted = told == execution.options.instructions ? nil : told ?? ""
    let payloads = [.executionStarted(model: model, instructions: noted), warning].compactMap(\.self)
    let begun = HarnessJournalEntry.input(
      .begin(execution.id, model: model), offset: process?.splitter.unread ?? 0)
    return TurnStart(
      model: model, events: payloads.map { EventDraft($0, execution: execution.id) }, instructions: told,
      left: try await self.told(line.left), journal: .append(try begun.bytes))
  }

  /// Gives a turn whose start is in the log to the harness.
  /// - Parameter written: its start
  func run(_ turn: QueuedTurn, _ start: TurnStart, _ written: [SessionEvent]) async {
    services.capacity.isBusy(turn.execution.sessionID)
    cancel(.idle)
    var execution = turn.execution
    execution.status = .running
    running = RunningTurn(execution: execution)
    services.metrics.turnsStarted.increment()
    noteWaits(written)
    let given = given(execution, start.left + turn.input, model: start.model, instructions: start.instructions)
    await drive { $0.begin(given) }
  }

  private func chooseModel(_ requested: String?) -> (String, EventPayload?) {
    guard let session else { return ("", nil) }
    return chooseModel(requested, of: session.harness)
  }

  func chooseModel(_ requested: String?, of harness: HarnessName) -> (String, EventPayload?) {
    guard let setup = services.configuration.harnesses[harness] else { return ("", nil) }
    guard let requested, requested != setup.model else { return (setup.model, nil) }
    if setup.models.contains(requested) { return (requested, nil) }
    let message = "The model '\(requested.prefix(128))' is not on the harness's list; '\(setup.model)' runs."
    return (setup.model, .warning(code: "model_not_available", message: message))
  }

  /// The running turn's terminal event is in the log.
  func turnEnded(_ id: ExecutionID) async {
    guard running?.execution.id == id else { return }
    running = nil
    cancel(.turnLimit)
    endHold()
    if process?.lifetime == .turn { await stopProcess(reason: "turn_ended") }
    await sweepProcess()
    await startNextTurn()
  }

  private func idleIfDone() {
    guard running == nil, queue.isEmpty, process?.isReady == true, process?.isDoomed == false, let session else {
      return
    }
    let id = session.id
    services.capacity.isIdle(id) { [weak self] in
      self?.post { drive in await drive.stopIfIdle(reason: "capacity") }
    }
    schedule(.idle, after: services.configuration.limits.idleSandbox) { await $0.stopIfIdle(reason: "idle") }
  }

  private func stopIfIdle(reason: String) async {
    guard running == nil, queue.isEmpty else { return services.capacity.staysBusy() }
    await stopProcess(reason: reason)
    // A steering message that the harness never answered is a turn now.
    await startNextTurn()
  }

  func scheduleTurnLimit(_ id: ExecutionID, after duration: Duration) {
    schedule(.turnLimit, after: duration) { await $0.turnLimitReached(id) }
  }

  private func turnLimitReached(_ id: ExecutionID) async {
    guard running?.execution.id == id else { return }
    let limit = services.configuration.limits.turn
    running?.failure = CentaurError(
      .turnTimeLimit, "The turn ran longer than its limit of \(limit) and was ended.")
    await interruptHarness(reason: "turn_time_limit")
  }

  /// What the machine says of a turn's end, put right where the drive knows better.
  func corrected(_ draft: EventDraft) -> EventDraft {
    guard let running, let failure = running.failure, draft.executionID == running.execution.id else { return draft }
    switch draft.payload {
    case .executionCompleted where !failure.code.isOfSandboxLimit: return draft
    case .executionCancelled(_, let usage), .executionFailed(_, let usage), .executionCompleted(let usage):
      return EventDraft(
        .executionFailed(ExecutionFailure(failure), usage), execution: draft.executionID, source: draft.source)
    default: return draft
    }
  }

  /// Ends the running turn as cancelled; the harness confirms it later, or the next server's does.
  /// - Returns: the turn, or nil where none runs.
  /// - Throws: `DriveEnded` where it could not be written down
  @discardableResult
  func interrupt(reason: String) async throws -> ExecutionID? {
    guard let running else { return nil }
    await interruptHarness(reason: reason)
    try checkAlive()
    return running.execution.id
  }

  func interruptHarness(reason: String) async {
    running?.isInterrupted = true
    await drive(.interrupt(reason: reason, failure: running?.failure)) { $0.interrupt(reason: reason) }
  }

  /// Ends turns that were never begun.
  /// - Parameter isAsIfUnasked: what they took is free: whoever asks again is not told of them
  func endWaiting(
    _ turns: [QueuedTurn], _ terminal: EventPayload, isAsIfUnasked: Bool = false
  ) async throws {
    guard !turns.isEmpty else { return }
    let ids = turns.map(\.execution.id)
    try await commit(
      ids.map { EventDraft(terminal, execution: $0) }, releases: isAsIfUnasked ? ids : [])
    let ended = Set(ids)
    queue.removeAll { ended.contains($0.execution.id) }
    for _ in turns { services.metrics.turnEnded(terminal) }
  }

  /// A newer input takes the place of what runs and of what waits.
  func supersede() async throws {
    try await endWaiting(queue, .executionCancelled(reason: "superseded", TurnUsage()))
    try await interrupt(reason: "superseded")
  }

  /// Ends turns that wait because the harness cannot be had.
  func failQueue(_ error: CentaurError) async throws {
    try await endWaiting(queue, .executionFailed(ExecutionFailure(error), TurnUsage()))
  }

  /// Turns have waited for a place as long as they may: those fail, and newer ones stay in line.
  func placeOverdue() async {
    let wait = services.configuration.limits.sandboxWait
    let now = ContinuousClock.now
    let overdue = queue.filter { $0.since + wait <= now }
    do {
      try await endWaiting(
        overdue, .executionFailed(ExecutionFailure(.noFreeSandbox(after: wait)), TurnUsage()), isAsIfUnasked: true)
    } catch { return await lost(error) }
    if let next = queue.first {
      schedule(.place, after: now.duration(to: next.since + wait)) { await $0.placeOverdue() }
    } else {
      pendingMessages = nil
      start?.cancel()
    }
  }
}
