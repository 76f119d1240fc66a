import Harness
import Logging
import Metrics
import SessionModel

/// What clients ask of a session.
extension SessionDrive {
  /// Takes a request: starts, steers or finds the turn that answers it.
  nonisolated func submit(_ request: TurnRequest) async throws -> AdmittedTurn {
    try await withCheckedThrowingContinuation { continuation in
      let isTaken = post { drive in
        do {
          try drive.checkAlive()
          if let admitted = try await drive.admit(request, answer: continuation) {
            continuation.resume(returning: admitted)
          }
        } catch {
          continuation.resume(throwing: error)
        }
      }
      if !isTaken { continuation.resume(throwing: DriveEnded()) }
    }
  }

  /// - Returns: nil where `answer` is resumed later (the harness is asked whether it still takes a steering message).
  private func admit(
    _ request: TurnRequest, answer: CheckedContinuation<AdmittedTurn, any Error>
  ) async throws -> AdmittedTurn? {
    var request = request
    guard try await open() else {
      if let output = request.outputs.first, request.input.isEmpty { throw Self.unknown(output.call) }
      request.preface += try await addedMessages(request)
      let first = request
      return try await allowed(first, endsOthers: false) { try await create(first) }
    }
    if let handed = handedOver(request) { request = handed }
    if let answered = try await self.answer(request) { return answered }
    // What was taken before is no branch, wherever the session has gone since.
    if joinsPendingSteer(request, answer) { return nil }
    if let steered = try await steered(by: request) { return try await attach(steered, request, hasSteered: true) }
    if let head = request.head, try await hasGoneOn(behind: head, request) { throw SessionWentOn() }
    try checkWishes(harness: request.harness, persona: request.persona)
    let late = try await services.store.lateOutputs(request.outputs)
    request.preface = late + request.preface
    let decision = Reconciliation.decide(request, try await facts(for: request))
    // Before anything ends for it.
    if case .start(let input, _) = decision, let session { try checkLength(of: input, for: session.harness) }
    if case .start(let input, _) = decision, let id = try await brokenOff(request, input) {
      var admitted = try await attach(id, request)
      admitted.isToldOn = true
      return admitted
    }
    if request.abortsRunningTurn, let running, case .start = decision {
      try await interrupt(reason: "aborted_by_client")
      logger.debug("aborted by the client", metadata: ["execution": "\(running.execution.id)"])
    }
    switch decision {
    case .nothing: throw CentaurError(.emptyInput, "The request holds no new user input.", parameter: "input")
    case .attach(let id): return try await attach(id, request)
    case .steer(let id, let input):
      return try await steer(id, request.preface.map(\.asSaidByUser) + input, request, answer)
    case .start(let input, let history):
      let policy = endsWait(request) ? .supersede : busyPolicy(request)
      switch policy {
      case .reject where running != nil || !queue.isEmpty:
        throw CentaurError(.sessionBusy, "A turn of this session is running.", retryAfter: .seconds(1))
      // What comes with other instructions is no addition to what runs under the earlier ones.
      case .steer where running != nil && otherInstructions(request) == nil:
        if let id = running?.execution.id {
          return try await steer(id, request.preface.map(\.asSaidByUser) + input, request, answer)
        }
      default: break
      }
      let endsOthers = policy == .supersede || request.abortsRunningTurn || request.takesOver
      return try await allowed(request, endsOthers: endsOthers) {
        if policy == .supersede { try await supersede() }
        let added = try await addedMessages(request)
        request.preface += added
        // What came from a client's own history comes again with its next request; it has no place beside what was added.
        request.options.passesOn = late.count + added.count
        // What becomes one message of the user's says whose words are in it.
        let preface = request.isOneMessage ? request.preface.map(\.asSaidByUser) : request.preface
        return try await start(preface + input, history: history, request)
      }
    case .repeated(let input):
      return try await allowed(request, endsOthers: true) {
        try await supersede()
        return try await start(input, history: [], request, isRepeated: true)
      }
    }
  }

  private func busyPolicy(_ request: TurnRequest) -> TurnRequest.BusyPolicy {
    request.busy ?? (request.client == .cli ? .supersede : .queue)
  }

  private func facts(for request: TurnRequest) async throws -> Reconciliation.Facts {
    guard let session else { throw CentaurError(.internalFailure, "The session is not open.") }
    let store = services.store
    let ids = request.input.compactMap(\.clientID)
    let turn =
      if let turnKey = request.turnKey { try await store.execution(session.id, turnKey: turnKey) } else {
        Execution?.none
      }
    var takers = ids.isEmpty ? [:] : try await store.takers(session.id, clientIDs: ids)
    // What the harness has been asked about is not asked again.
    for steer in steers.values {
      for id in steer.input.compactMap(\.clientID) {
        takers[id] = TakenInput(execution: steer.execution, seq: 0)
      }
    }
    var facts = Reconciliation.Facts(isKnown: true, takers: takers, turn: turn, running: running?.execution)
    if request.continues { facts.newest = try await store.newestExecution(session.id) }
    if request.repeatsFailedTurns {
      for id in Set(facts.takers.values.compactMap(\.execution)) {
        guard let status = try await store.execution(id)?.status else { continue }
        if status == .failed || status == .cancelled { facts.failed.insert(id) }
      }
    }
    return facts
  }

  func checkWishes(harness: HarnessName?, persona: String?) throws(CentaurError) {
    guard let session else { return }
    if let harness, harness != session.harness {
      throw CentaurError(
        .harnessConflict, "Session \(key) runs the harness '\(session.harness)'; it cannot become '\(harness)'.")
    }
    if let persona, persona != session.persona {
      throw CentaurError(
        .personaConflict, "Session \(key) has the persona '\(session.persona ?? "none")', not '\(persona)'.")
    }
  }

  // MARK: A new session

  /// A session to be made, and the sandbox that waited for it, where there was one.
  private struct NewSession {
    var session: Session
    var created: EventDraft
    var claimed: WarmPool.Claimed?
  }

  private func newSession(
    harness: HarnessName?, persona: String?, instructions: String?, origin: String, options: TurnOptions? = nil,
    history: [Message] = []
  ) async throws -> NewSession {
    let chosen = try services.configuration.choose(harness: harness, persona: persona, origin: origin)
    let turn = options.map { TurnWishes(model: chooseModel($0.requestedModel, of: chosen).0, options: $0) }
    let wish = WarmPool.Wish(
      harness: chosen, persona: persona, instructions: instructions, turn: turn, history: history)
    let claimed = await services.pool?.claim(wish)
    let session = Session(
      id: claimed?.session ?? services.ids.session(), owner: owner, key: key, harness: chosen, persona: persona,
      instructions: instructions, createdAt: services.clock.now)
    let created = SessionCreated(harness: chosen, persona: persona, origin: origin, instructions: instructions)
    return NewSession(session: session, created: EventDraft(.sessionCreated(created)), claimed: claimed)
  }

  private func create(
    _ new: NewSession, events: [EventDraft], turnKeys: [ExecutionID: String] = [:],
    takes: [String: ExecutionID?] = [:], replies: [Reply] = []
  ) async throws -> [SessionEvent] {
    let session = new.session
    let now = services.clock.now
    digest = SessionDigest(HistoryDigest(of: owner))
    let (digest, _) = folded(events)
    let result: CommitResult
    do {
      result = try await services.store.commit(
        SessionCommit(
          session: session.id,
          creation: .init(
            session: session, holder: services.configuration.node,
            leaseUntil: now + services.configuration.limits.lease),
          token: nil, time: now, events: events, turnKeys: turnKeys, takes: takes, replies: replies,
          historyDigest: digest.map { HistoryDigestChange(value: $0.head.value, execution: nil) }))
    } catch {
      self.digest = nil
      if let claimed = new.claimed { await services.pool?.discard(claimed) }
      throw error
    }
    self.session = session
    self.digest = digest
    turnsInLine = TurnsInLine()
    token = result.token
    openedAt = .now
    feed = EventFeed(sessionID: session.id, head: 0, store: services.store, total: services.metrics.subscribers)
    publish(result.events)
    if let claimed = new.claimed { adopt(claimed) }
    return result.events
  }

  /// The first request of a session: made, seeded with what the client or the forked session brings, and begun.
  private func create(_ request: TurnRequest) async throws -> AdmittedTurn {
    let forked = try await forkedHistory(request)
    let decision = Reconciliation.decide(request, .init(isKnown: false, takers: [:], turn: nil, running: nil))
    guard case .start(let input, let told) = decision else {
      throw CentaurError(.emptyInput, "The request holds no user input.", parameter: "input")
    }
    try checkLength(
      of: input,
      for: services.configuration.choose(
        harness: request.harness ?? forked?.harness, persona: request.persona, origin: request.origin))
    try checkCapacity()
    // What was said since the fork and got no answer is in no parent's log up to there.
    let before = forked.map { $0.messages + request.input.dropLast(input.count) } ?? told
    let history = request.fork == nil ? request.preface + before : before + request.preface
    // Another harness, or persona, is not what the parent's was made for.
    let parent = request.harness == nil || request.harness == forked?.harness ? forked : nil
    let new = try await newSession(
      harness: request.harness ?? forked?.harness, persona: request.persona ?? parent?.persona,
      instructions: request.instructions(after: parent?.instructions), origin: request.origin, options: request.options,
      history: history)
    var events = [new.created]
    if let forked {
      events.append(EventDraft(.sessionForked(from: forked.parent, atSeq: forked.atSeq)))
      events.append(Self.ownWorkspace)
    }
    events += history.map { EventDraft(.messageAppended($0)) }
    let turn = newTurn(input, request, in: new.session, ordinal: 1)
    var takes = turn.takes
    for id in history.compactMap(\.clientID) where takes[id] == nil { takes[id] = ExecutionID?.none }
    let written = try await create(
      new, events: events + turn.events, turnKeys: turn.turnKeys, takes: takes, replies: [turn.reply])
    return try await begin(turn, written)
  }

  /// Opens a session without a turn (session API).
  /// - Returns: the session, and whether this call made it.
  func openSession(
    harness: HarnessName?, persona: String?, instructions: String?, origin: String
  ) async throws -> (session: Session, isNew: Bool) {
    if try await open(), let session {
      try checkWishes(harness: harness, persona: persona)
      return (session, false)
    }
    let new = try await newSession(harness: harness, persona: persona, instructions: instructions, origin: origin)
    _ = try await create(new, events: [new.created])
    pendingMessages = []
    return (self.session ?? new.session, true)
  }

  // MARK: A turn

  /// - Throws: `CentaurError` with `inputTooLong` where the harness would refuse the input
  private func checkLength(of input: [Message], for harness: HarnessName) throws(CentaurError) {
    guard let longest = services.configuration.harnesses[harness]?.adapter.longestInput else { return }
    let length = input.reduce(0) { sum, message in
      message.parts.reduce(sum) { if case .text(let text) = $1 { $0 + text.unicodeScalars.count } else { $0 } }
    }
    guard length > longest else { return }
    throw CentaurError(
      .inputTooLong, "The agent takes \(longest) characters of text in one turn, not \(length).", parameter: "input")
  }

  struct NewTurn {
    var execution: Execution
    var input: [Message]
    var events: [EventDraft]
    var turnKeys: [ExecutionID: String]
    var takes: [String: ExecutionID?]
    var retakes: [String: ExecutionID] = [:]
    var reply: Reply
  }

  /// The events of a turn that begins: what was said, `execution.queued`, and what of its request is not honoured.
  func newTurn(
    _ input: [Message], _ request: TurnRequest, in session: Session, ordinal: Int, isFollowUp: Bool = false
  ) -> NewTurn {
    let id = services.ids.execution()
    let now = services.clock.now
    // A turn that a client's turn id stood for may be over when the client adds to it: the second one needs a name.
    let turnKey = request.turnKey.map { isFollowUp ? "\($0)/\(id)" : $0 }
    let execution = Execution(
      id: id, sessionID: session.id, ordinal: ordinal, turnKey: turnKey, status: .queued, options: request.options,
      firstSeq: 0, createdAt: now)
    var takes: [String: ExecutionID?] = [:]
    for clientID in input.compactMap(\.clientID) { takes[clientID] = id }
    let said = request.asSaid(input)
    let ignored = request.notHonoured.map { EventPayload.warning(code: EventPayload.notHonouredCode, message: $0) }
    let payloads = said.map(EventPayload.messageAppended) + [.executionQueued(request.options)]
    return NewTurn(
      execution: execution, input: said,
      events: (payloads + [ignored].compactMap(\.self)).map { EventDraft($0, execution: id) },
      turnKeys: turnKey.map { [id: $0] } ?? [:], takes: takes,
      reply: reply(to: request, id, number: 1, at: now, in: session))
  }

  func reply(
    to request: TurnRequest, _ execution: ExecutionID, number: Int, at time: Timestamp, in session: Session,
    afterSeq: Int64 = 0
  ) -> Reply {
    Reply(
      wireID: "\(request.replyPrefix)_\(execution)_\(number)", owner: owner, sessionID: session.id,
      executionID: execution, echo: request.echo, createdAt: time, isKept: request.keepsReply, afterSeq: afterSeq,
      request: request.name)
  }

  func start(
    _ input: [Message], history: [Message], _ request: TurnRequest, isRepeated: Bool = false,
    answering steerAnswered: [HarnessJournalChange] = []
  ) async throws -> AdmittedTurn {
    guard let session else { throw CentaurError(.internalFailure, "The session is not open.") }
    try checkCapacity()
    let isFollowUp =
      if let turnKey = request.turnKey {
        try await services.store.execution(session.id, turnKey: turnKey) != nil
      } else { false }
    let pending = try await readPendingMessages()
    pendingMessages = pending
    var request = request
    request.options.leavesPending = !pending.isEmpty
    request.options.instructions = try await ownInstructions(request)
    var turn = newTurn(input, request, in: session, ordinal: 0, isFollowUp: isFollowUp)
    if isRepeated { (turn.takes, turn.retakes) = ([:], turn.takes.compactMapValues(\.self)) }
    if try await goesBack(input, request) { turn.events.append(Self.notRewound(turn.execution.id)) }
    // Where the harness waits for it, a turn is admitted and started in one step: its input is there sooner by a commit.
    let start = isWaiting(for: turn.execution) ? try await turnStart(turn.execution) : nil
    let ended = request.takesOver ? try interruption(reason: "superseded") : nil
    let events = history.map { EventDraft(.messageAppended($0)) } + turn.events + (start?.events ?? [])
    let written: [SessionEvent]
    do {
      written = try await commit(
        (ended?.drafts ?? []) + events, turnKeys: turn.turnKeys, takes: turn.takes, retakes: turn.retakes,
        replies: [turn.reply], instructions: start?.instructions, harnessState: ended?.state,
        harnessJournal: steerAnswered + [start?.journal, ended?.journal].compactMap(\.self))
    } catch {
      if let ended { takeBack(ended) }
      throw error
    }
    let admitted = try await begin(turn, written, start)
    if let ended { await carryOut(ended) }
    return admitted
  }

  /// Whether the client's user went back to an earlier point of the conversation and goes on from there.
  private func goesBack(_ input: [Message], _ request: TurnRequest) async throws -> Bool {
    guard let session, let before = request.options.messagesBefore,
      let newest = try await services.store.newestExecution(session.id), let last = newest.options.messagesBefore,
      newest.options.conversation == request.options.conversation
    else { return false }
    // Something else in the place of what was answered; where that is still there, its answer never arrived.
    let takesPlace = before == last && newest.status == .completed && input.count == request.input.count
    return before < last || takesPlace
  }

  private static func notRewound(_ execution: ExecutionID) -> EventDraft {
    EventDraft(
      .warning(
        code: EventPayload.notRewoundCode,
        message: "The conversation was taken back in the client. What the agent did since then stays done, and it "
          + "remembers it: the session goes on from where it is."),
      execution: execution)
  }

  /// Puts an admitted turn in line; it starts at once where nothing runs.
  /// - Parameter start: of a turn whose start is in the log already
  func begin(_ turn: NewTurn, _ written: [SessionEvent], _ start: TurnStart? = nil) async throws -> AdmittedTurn {
    var execution = turn.execution
    let first = written.first { $0.executionID == execution.id }?.seq ?? 0
    execution.firstSeq = first
    var admitted = try admitted(execution, turn.reply, isReplay: false)
    let queued = QueuedTurn(execution: execution, input: turn.input)
    if let start {
      await run(queued, start, written)
    } else {
      queue.append(queued)
      await startNextTurn()
    }
    admitted.waitsForPlace = waitsForPlace
    return admitted
  }

  func admitted(_ execution: Execution, _ reply: Reply, isReplay: Bool) throws -> AdmittedTurn {
    guard let session, let feed else { throw CentaurError(.internalFailure, "The session is not open.") }
    return AdmittedTurn(
      session: session, execution: execution, reply: reply, isReplay: isReplay,
      events: feed.subscribe(after: reply.firstSeq(of: execution) - 1))
  }

  private var waitsForPlace: Bool { process == nil && services.capacity.isFull }

  func attach(_ id: ExecutionID, _ request: TurnRequest, hasSteered: Bool = false) async throws -> AdmittedTurn {
    guard let execution = try await services.store.execution(id),
      let reply = try await reply(of: execution, had: request, hasSteered: hasSteered)
    else { throw CentaurError(.storeCorrupt, "The turn that took this input is missing.") }
    services.metrics.turnsReplayed.increment()
    logger.info("a retry attaches", metadata: ["execution": "\(id)"])
    var admitted = try admitted(execution, reply, isReplay: true)
    admitted.waitsForPlace = execution.status == .queued && waitsForPlace
    return admitted
  }
}
