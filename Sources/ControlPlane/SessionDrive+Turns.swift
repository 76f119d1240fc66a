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
    queue.removeFirst()
    let (model, started) = startEvents(next.execution)
    do { try await commit(started) } catch { return await lost(error) }
    await run(next, model: model)
  }

  /// Whether a turn that comes now needs to wait for nothing.
  var isWaitingForTurn: Bool { running == nil && queue.isEmpty && process?.takesTurns == true }

  /// What the log says of a turn that starts, and the model that it runs.
  func startEvents(_ execution: Execution) -> (model: String, events: [EventDraft]) {
    let (model, warning) = chooseModel(execution.options.requestedModel)
    let payloads = [.executionStarted(model: model), warning].compactMap(\.self)
    return (model, payloads.map { EventDraft($0, execution: execution.id) })
  }

  /// Gives a turn whose start is in the log to the harness.
  func run(_ turn: QueuedTurn, model: String) async {
    services.capacity.isBusy(turn.execution.sessionID)
    cancel(.idle)
    var execution = turn.execution
    execution.status = .running
    running = RunningTurn(execution: execution)
    services.metrics.turnsStarted.increment()
    let id = execution.id
    schedule(.turnLimit, after: services.configuration.limits.turn) { await $0.turnLimitReached(id) }
    let given = HarnessTurn(execution: id, input: turn.input, model: model, options: execution.options)
    await drive { $0.begin(given) }
  }

  private func chooseModel(_ requested: String?) -> (String, EventPayload?) {
    guard let session, let setup = services.configuration.harnesses[session.harness] else { return ("", nil) }
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
    if process?.lifetime == .turn { await stopProcess(reason: "turn_ended") }
    await sweepProcess()
    await startNextTurn()
  }

  private func idleIfDone() {
    guard running == nil, queue.isEmpty, process?.takesTurns == true, let session else { return }
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

  private func turnLimitReached(_ id: ExecutionID) async {
    guard running?.execution.id == id else { return }
    let limit = services.configuration.limits.turn
    running?.failure = CentaurError(
      .turnTimeLimit, "The turn ran longer than its limit of \(limit) and was ended.")
    await drive { $0.interrupt(reason: "turn_time_limit") }
  }

  /// What the machine says of a turn's end, put right where the drive knows better.
  func corrected(_ draft: EventDraft) -> EventDraft {
    guard let running, let failure = running.failure, draft.executionID == running.execution.id else { return draft }
    switch draft.payload {
    case .executionCancelled(_, let usage), .executionFailed(_, let usage):
      return EventDraft(
        .executionFailed(ExecutionFailure(failure), usage), execution: draft.executionID, source: draft.source)
    default: return draft
    }
  }

  /// Ends the running turn as cancelled; the harness confirms it later.
  /// - Returns: the turn, or nil where none runs.
  @discardableResult
  func interrupt(reason: String) async throws -> ExecutionID? {
    guard let running else { return nil }
    await drive { $0.interrupt(reason: reason) }
    return running.execution.id
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

  // MARK: After a restart

  /// Looks after what an earlier server left: turns that ran are ended, with the items that they left open; turns that
  /// waited go back in line.
  func recover(_ session: Session) async throws {
    let open = try await services.store.openExecutions(session.id)
    try await stopLeftoverSandboxes(session)
    for execution in open where execution.status != .queued {
      var folded = OpenTurn()
      try await read(execution) { folded.fold($0) }
      let error = CentaurError(.serverRestarted, "The server was restarted while this turn ran; its work was cut off.")
      try await commit(
        folded.openItems.map { EventDraft(.itemCompleted($0), execution: execution.id) }
          + [EventDraft(.executionFailed(ExecutionFailure(error), folded.usage), execution: execution.id)])
    }
    for execution in open where execution.status == .queued {
      var input = try await readMessages(before: execution)
      try await read(execution) { event in
        if case .messageAppended(let message) = event.payload { input.append(message) }
      }
      queue.append(QueuedTurn(execution: execution, input: input))
    }
    if !queue.isEmpty { await startNextTurn() }
  }

  /// The events of a turn so far.
  func read(_ execution: Execution, _ body: (SessionEvent) -> Void) async throws {
    var cursor = execution.firstSeq - 1
    while true {
      let page = try await services.store.events(execution.sessionID, after: cursor, limit: 1000)
      for event in page where event.executionID == execution.id { body(event) }
      guard let last = page.last else { return }
      cursor = last.seq
    }
  }

  /// The messages that waited for a turn of the session API: they are in the log before it, with no turn of their own.
  private func readMessages(before execution: Execution) async throws -> [Message] {
    var pending = PendingMessages()
    var cursor: Int64 = 0
    while cursor < execution.firstSeq {
      let page = try await services.store.events(execution.sessionID, after: cursor, limit: 1000)
      guard let last = page.last else { break }
      for event in page where event.seq < execution.firstSeq { pending.fold(event) }
      cursor = last.seq
    }
    return pending.messages
  }
}
