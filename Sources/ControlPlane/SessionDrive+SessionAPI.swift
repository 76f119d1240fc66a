import SessionModel

/// What programs ask by the session API: messages first, a turn with all of them later.
extension SessionDrive {
  /// Keeps a message for the next `execute`.
  func append(_ message: Message) async throws -> SessionEvent {
    guard try await open(), let session else { throw sessionNotFound() }
    if let (_, event) = try await earlier(message, in: session) { return event }
    var pending = try await readPendingMessages()
    let takes: [String: ExecutionID?] = message.clientID.map { [$0: ExecutionID?.none] } ?? [:]
    let written = try await commit([EventDraft(.messageAppended(message))], takes: takes)
    pending.append(message)
    pendingMessages = pending
    guard let event = written.first else { throw CentaurError(.internalFailure, "Nothing was written.") }
    return event
  }

  /// How the session took a message before, and its event; nil where it did not.
  /// - Throws: `CentaurError` with `idempotencyConflict` where it took another one under the same id
  private func earlier(
    _ message: Message, in session: Session
  ) async throws -> (taken: TakenInput, event: SessionEvent)? {
    guard let id = message.clientID,
      let taken = try await services.store.takers(session.id, clientIDs: [id])[id]
    else { return nil }
    let event = try await services.store.events(session.id, after: taken.seq - 1, limit: 1).first
    guard let event, case .messageAppended(let earlier) = event.payload, earlier == message else {
      throw CentaurError(
        .idempotencyConflict, "Another message was sent under the id '\(id.prefix(64))'.", parameter: "id")
    }
    return (taken, event)
  }

  /// The user messages since the newest turn began, for a drive that has just opened its session.
  func readPendingMessages() async throws -> [Message] {
    if let pendingMessages { return pendingMessages }
    guard let session else { return [] }
    let newest = try await services.store.newestExecution(session.id)
    var pending = PendingMessages()
    // One that left them waiting says nothing of when they were said.
    var cursor = newest?.options.leavesPending == true ? 0 : newest?.firstSeq ?? 0
    if let end = newest?.terminalSeq,
      let event = try await services.store.events(session.id, after: end - 1, limit: 1).first,
      PendingMessages.wasNotRun(event)
    {
      // What waited for that turn waits again; how far back it was said only the log tells.
      cursor = 0
    }
    while true {
      let page = try await services.store.eventsWithoutPieces(session.id, after: cursor, limit: 1000)
      for event in page { pending.fold(event) }
      guard let last = page.last else { return pending.messages }
      cursor = last.seq
    }
  }

  /// Begins a turn with the messages that wait and those that come along.
  func execute(_ request: TurnRequest) async throws -> AdmittedTurn {
    guard try await open(), let session else { throw sessionNotFound() }
    try checkWishes(harness: request.harness, persona: request.persona)
    if let turnKey = request.turnKey, let earlier = try await services.store.execution(session.id, turnKey: turnKey) {
      return try await attach(earlier.id, request)
    }
    let pending = try await readPendingMessages()
    var input = pending
    var taker: ExecutionID?
    for message in request.input {
      guard let earlier = try await earlier(message, in: session) else {
        input.append(message)
        continue
      }
      taker = earlier.taken.execution ?? taker
    }
    // All of it was executed before, and nothing has come since.
    if input.isEmpty, let taker { return try await attach(taker, request) }
    guard !input.isEmpty else {
      throw CentaurError(.emptyInput, "There is no message to execute.", parameter: "input")
    }
    let policy = request.busy ?? .queue
    if policy == .reject, running != nil || !queue.isEmpty {
      throw CentaurError(.sessionBusy, "A turn of this session is running.", retryAfter: .seconds(1))
    }
    return try await allowed(request, endsOthers: policy == .supersede) {
      if policy == .supersede { try await supersede() }
      try checkCapacity()
      var request = request
      request.options.instructions = try await ownInstructions(request)
      var turn = newTurn(input, request, in: session, ordinal: 0)
      // Messages that waited are in the log already.
      turn.events.removeFirst(pending.count)
      for message in pending { if let id = message.clientID { turn.takes[id] = nil } }
      let written = try await commit(
        turn.events, turnKeys: turn.turnKeys, takes: turn.takes, replies: [turn.reply])
      pendingMessages = []
      return try await begin(turn, written)
    }
  }

  func sessionNotFound() -> CentaurError {
    CentaurError(.sessionNotFound, "There is no session with the thread key '\(key)'.")
  }
}
