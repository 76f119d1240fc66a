import Metrics
import SessionModel

/// What a client adds to a turn that it began.
extension SessionDrive {
  /// A request that comes again before the harness has answered it waits for the same answer.
  func joinsPendingSteer(
    _ request: TurnRequest, _ answer: CheckedContinuation<AdmittedTurn, any Error>
  ) -> Bool {
    let last = request.input.last?.clientID
    let id = steers.first { _, steer in
      if let last { return steer.input.contains { $0.clientID == last } }
      return request.steerKey != nil && steer.request(of: owner, key).steerKey == request.steerKey
    }?.key
    guard let id else { return false }
    steerAnswers[id, default: []].append(answer)
    return true
  }

  /// The turn that this request has steered before.
  func steered(by request: TurnRequest) async throws -> ExecutionID? {
    guard let key = request.steerKey, let session else { return nil }
    return try await services.store.takers(session.id, clientIDs: [key])[key]?.execution
  }

  /// The newest of a turn's replies that this request may have had: what its client's tools said came by others, and each
  /// of those begins behind the wait that it ended.
  /// - Parameter hasSteered: the turn was there before this request
  func reply(of execution: Execution, had request: TurnRequest, hasSteered: Bool) async throws -> Reply? {
    let replies = try await services.store.replies(execution.id)
    guard !request.continues, replies.contains(where: { $0.afterSeq > 0 }) else { return replies.last }
    let ids = Set(request.input.compactMap(\.clientID))
    let said = hasSteered ? request.input.map(\.parts) : []
    var waits = TurnWaits()
    var hasStarted = false
    var afterSeq: Int64 = 0
    try await read(execution, withPieces: false) { event in
      if case .executionStarted = event.payload { hasStarted = true }
      if case .messageAppended(let message) = event.payload {
        let isNamed = message.clientID.map(ids.contains) ?? false
        let isSaidAgain = hasStarted && said.contains(message.parts)
        if isNamed || isSaidAgain { afterSeq = waits.answeredSeq }
      }
      waits.fold(event)
    }
    return replies.last { $0.afterSeq == afterSeq } ?? replies.last { $0.afterSeq == 0 }
  }

  /// The newest wait of a turn that was answered; 0 where none was.
  private func answeredWait(of execution: Execution) async throws -> Int64 {
    if let running, running.execution.id == execution.id { return running.waits.answeredSeq }
    var waits = TurnWaits()
    try await read(execution, withPieces: false) { waits.fold($0) }
    return waits.answeredSeq
  }

  /// Writes down that a turn has heard more than it began with; the request gets a reply of its own. It begins where the
  /// client was last asked something: what the turn said before has ended in that answer.
  func add(
    _ input: [Message], to execution: Execution, _ request: TurnRequest,
    answering steerAnswered: [HarnessJournalChange] = []
  ) async throws -> AdmittedTurn {
    guard let session else { throw CentaurError(.internalFailure, "The session is not open.") }
    let id = execution.id
    let number = try await services.store.replies(id).count + 1
    let afterSeq = try await answeredWait(of: execution)
    let reply = reply(
      to: request, id, number: number, at: services.clock.now, in: session, afterSeq: afterSeq)
    var takes: [String: ExecutionID?] = [:]
    for clientID in input.compactMap(\.clientID) + [request.steerKey].compactMap(\.self) { takes[clientID] = id }
    try await commit(
      input.map { EventDraft(.messageAppended($0), execution: id) }, takes: takes, replies: [reply],
      harnessJournal: steerAnswered)
    services.metrics.turnsSteered.increment()
    return try admitted(execution, reply, isReplay: false)
  }

  /// Gives a message to a turn that is at work, or in line.
  /// - Returns: nil where `answer` is resumed when the harness has said whether it takes it
  func steer(
    _ id: ExecutionID, _ input: [Message], _ request: TurnRequest,
    _ answer: CheckedContinuation<AdmittedTurn, any Error>
  ) async throws -> AdmittedTurn? {
    if let index = queue.firstIndex(where: { $0.execution.id == id }) {
      // The harness has not been given the turn yet.
      let admitted = try await add(input, to: queue[index].execution, request)
      queue[index].input += input
      return admitted
    }
    guard let running, running.execution.id == id, process?.isReady == true else {
      return try await allowed(request, endsOthers: false) { try await start(input, history: [], request) }
    }
    // The client's own id makes a repeated message harmless: the shim takes each input id once.
    let inputID = "\(id)/steer/\(input.last?.clientID ?? services.ids.thread())"
    let steer = PendingSteer(number: nextGeneration(), input: input, of: request, to: running.execution.id)
    steers[inputID] = steer
    steerAnswers[inputID] = [answer]
    steerAllowances[inputID] = request.allowance
    await drive(.steer(id: inputID, steer)) { $0.steer(steer.message, inputID: inputID) }
    return nil
  }

  /// The harness has answered a steering message.
  func steerAnswered(_ inputID: String, isTaken: Bool) async {
    guard let steer = steers.removeValue(forKey: inputID) else { return }
    let answers = steerAnswers.removeValue(forKey: inputID) ?? []
    var request = steer.request(of: owner, key)
    request.allowance = steerAllowances.removeValue(forKey: inputID)
    do {
      let input = HarnessInput.steerAnswered(id: inputID)
      let carriedOut = HarnessJournalEntry.input(input, offset: process?.splitter.unread ?? 0)
      let change: [HarnessJournalChange] = process?.isEnding == false ? [.append(try carriedOut.bytes)] : []
      let admitted =
        if isTaken, let execution = try await services.store.execution(steer.execution) {
          try await add(steer.input, to: execution, request, answering: change)
        } else { try await startRefused(steer, request, answering: change) }
      for answer in answers { answer.resume(returning: admitted) }
    } catch {
      for answer in answers { answer.resume(throwing: error) }
    }
  }

  /// A message that its turn does not take is a turn of its own, where the key of its request may have one more.
  private func startRefused(
    _ steer: PendingSteer, _ request: TurnRequest, answering steerAnswered: [HarnessJournalChange]
  ) async throws -> AdmittedTurn {
    do {
      return try await allowed(request, endsOthers: false) {
        try await start(steer.input, history: [], request, answering: steerAnswered)
      }
    } catch let error as CentaurError where error.code == .keyTurnLimit {
      // Whoever said it knows that it was not taken: the next server does not take it either.
      try await commit([], harnessJournal: steerAnswered)
      throw error
    }
  }
}
