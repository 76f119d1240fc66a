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

  /// Writes down that a turn has heard more than it began with; the request gets a reply of its own.
  func add(
    _ input: [Message], to execution: Execution, _ request: TurnRequest,
    answering steerAnswered: [HarnessJournalChange] = []
  ) async throws -> AdmittedTurn {
    guard let session else { throw CentaurError(.internalFailure, "The session is not open.") }
    let id = execution.id
    let number = try await services.store.replies(id).count + 1
    let reply = reply(to: request, id, number: number, at: services.clock.now, in: session)
    var takes: [String: ExecutionID?] = [:]
    for clientID in input.compactMap(\.clientID) + [request.steerKey].compactMap(\.self) { takes[clientID] = id }
    try await commit(
      input.map { EventDraft(.messageAppended($0), execution: id) }, takes: takes, replies: [reply],
      harnessJournal: steerAnswered)
    services.metrics.turnsSteered.increment()
    return try admitted(execution, reply, isReplay: false)
  }
}
