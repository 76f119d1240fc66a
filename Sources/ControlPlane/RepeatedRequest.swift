import Metrics
import SessionModel

/// Programs whose library sends a request again by itself: after a time of its own, when the connection broke, or when it
/// was told to come back. The library sends the same once more, and says that it has tried before; or whoever wrote the
/// program gave the request a name (`Idempotency-Key`). Done again, the work would be done twice, in another session.
///
/// What the request says, as a whole, is kept with its answer and tells it apart; it is the same bytes, as they come from
/// the same library. CLIs write a retry anew and have rules of their own (`Reconciliation`).
extension ControlPlane {
  /// How long after its turn's end a retry may ask for an answer. OpenAI's and Anthropic's libraries wait for an answer for
  /// ten minutes, and for at most one more before they ask again. A turn that is not over is as old as it is, so
  /// `limits.turn` is in it.
  static let retryWindow = Duration.seconds(11 * 60)

  /// Takes a request that may be a repetition of an earlier one: then that one's answer is shown, wherever it is.
  /// - Throws: `CentaurError`, with `idempotencyConflict` where something else was asked under its name
  func submitOnce(_ request: TurnRequest) async throws -> AdmittedTurn {
    guard let name = request.name else { return try await admit(request) }
    let retries = request.turnKey == nil ? request.sent?.retries : nil
    let requestTry = tries.begin(
      name.value, retries: retries, endsWithClient: request.cancelsOnDisconnect)
    do {
      let shown =
        switch retries {
        case nil: try await answer(toRequestNamed: name, requestTry, of: request.owner)
        case 0: AdmittedTurn?.none
        default: try await answer(owedTo: requestTry, of: request.owner)
        }
      var admitted: AdmittedTurn
      if let shown { admitted = shown } else { admitted = try await admit(request) }
      requestTry.isAnswered(by: admitted.reply.wireID)
      admitted.requestTry = requestTry
      return admitted
    } catch {
      requestTry.isRefused(comesBack: (error as? CentaurError)?.retryAfter != nil)
      throw error
    }
  }

  /// The answer to a request that its client has named.
  private func answer(
    toRequestNamed name: RequestName, _ requestTry: RequestTry, of owner: Owner
  ) async throws -> AdmittedTurn? {
    await tries.settled(before: requestTry.id)
    guard let reply = try await services.store.reply(owner: owner, requestName: name.value) else { return nil }
    guard reply.request?.digest == name.digest else {
      throw CentaurError(.idempotencyConflict, "Another request was sent under this Idempotency-Key.")
    }
    return try await show(reply, evenIfFailed: true)
  }

  /// The answer that a retry's client was waiting for.
  private func answer(owedTo requestTry: RequestTry, of owner: Owner) async throws -> AdmittedTurn? {
    await tries.settled(before: requestTry.id)
    await tries.parted(before: requestTry.id)
    let name = requestTry.id.name
    let since = services.clock.now + (.zero - Self.retryWindow)
    let answers = try await services.store.answers(owner: owner, requestName: name, endedSince: since)
    guard let owed = tries.answer(for: requestTry.id, among: answers),
      let reply = try await services.store.replies(owed.executionID).first(where: { $0.wireID == owed.wireID })
    else { return nil }
    return try await show(reply, evenIfFailed: false)
  }

  private func show(_ reply: Reply, evenIfFailed: Bool) async throws -> AdmittedTurn? {
    guard let session = try await services.store.session(reply.sessionID) else {
      throw CentaurError(.storeCorrupt, "The session of an answer is missing.")
    }
    return try await ask(session.owner, session.key) { drive in
      try await drive.serially { try await $0.show(reply, evenIfFailed: evenIfFailed) }
    }
  }
}

extension SessionDrive {
  /// Shows an answer again, to whoever asks for it once more.
  /// - Returns: nil where its turn has failed or was cancelled, unless that is to be shown too
  func show(_ reply: Reply, evenIfFailed: Bool) async throws -> AdmittedTurn? {
    guard try await open(), let execution = try await services.store.execution(reply.executionID) else {
      throw CentaurError(.storeCorrupt, "The turn of an answer is missing.")
    }
    if !evenIfFailed, execution.status == .failed || execution.status == .cancelled { return nil }
    services.metrics.turnsReplayed.increment()
    logger.info("a retry attaches", metadata: ["execution": "\(execution.id)"])
    var admitted = try admitted(execution, reply, isReplay: true)
    admitted.waitsForPlace = execution.status == .queued && process == nil && services.capacity.isFull
    return admitted
  }
}

extension TurnRequest {
  /// By what the request is known again where its client sends it once more. One that names its turn is known by that in
  /// the session that it names; where it names none, among all of the owner's.
  var nameOfTries: RequestName? {
    guard client == .sdk, let sent else { return nil }
    guard let turnKey else {
      return sent.retries == nil ? nil : RequestName(value: sent.digest, digest: sent.digest)
    }
    switch session {
    case .fresh, .compacted:
      return RequestName(value: SentRequest.digest(["name", owner.rawValue, turnKey]), digest: sent.digest)
    case .key, .continuing, .conversation: return nil
    }
  }
}
