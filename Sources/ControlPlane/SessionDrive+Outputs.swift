import Harness
import Logging
import Metrics
import SessionModel

/// What a client's tools have said, and the turn that waits for it.
extension SessionDrive {
  /// The reply in which the turn goes on; or, where all of the outputs were given before, the one that showed it then.
  /// - Returns: nil where the outputs are history: the calls are over, and the request says something new
  /// - Throws: `CentaurError` with `unknownCall`, `callClosed`
  func answer(_ request: TurnRequest) async throws -> AdmittedTurn? {
    guard let first = request.outputs.first else { return nil }
    let id = first.call.execution
    if let running, running.execution.id == id {
      let waiting = Set(running.waits.calls.map(\.id))
      if running.isWaiting, request.outputs.allSatisfy({ waiting.contains($0.call) }) {
        return try await resume(with: request.outputs, request)
      }
    }
    guard let execution = try await services.store.execution(id), execution.sessionID == session?.id else {
      throw Self.unknown(first.call)
    }
    var waits = TurnWaits()
    try await read(execution, withPieces: false) { waits.fold($0) }
    for output in request.outputs where !waits.asked.contains(output.call) { throw Self.unknown(output.call) }
    let waiting = execution.status.isTerminal ? [] : Set(waits.calls.map(\.id))
    let new = request.outputs.filter { waiting.contains($0.call) }
    if !new.isEmpty { return try await resume(with: new, request) }
    let repeated = Self.outputs(request.outputs, beside: request.input)
    guard repeated.allSatisfy({ waits.answered[$0.call]?.output == $0 }) else {
      guard request.input.isEmpty else { return nil }
      throw Self.closed(repeated, waits)
    }
    guard let last = request.outputs.last.flatMap({ waits.answered[$0.call] }),
      let reply = try await services.store.replies(id).last(where: { $0.afterSeq == last.afterSeq })
    else { throw CentaurError(.storeCorrupt, "The reply in which the turn went on is missing.") }
    services.metrics.turnsReplayed.increment()
    logger.info("an output was sent again", metadata: ["execution": "\(id)"])
    return try admitted(execution, reply, isReplay: true)
  }

  /// What the user says beside an output is for the agent too, and its turn takes nothing else now.
  private static func outputs(_ outputs: [ToolOutput], beside said: [Message]) -> [ToolOutput] {
    var told = outputs
    if !told.isEmpty { told[told.count - 1].parts += said.flatMap(\.parts) }
    return told
  }

  private static func closed(_ outputs: [ToolOutput], _ waits: TurnWaits) -> CentaurError {
    if let late = outputs.first(where: { waits.answered[$0.call] == nil }) {
      return CentaurError(
        .callClosed, "The turn that asked for the call '\(late.call)' ended before it was answered.")
    }
    let other = outputs.first { waits.answered[$0.call]?.output != $0 }
    return CentaurError(
      .callClosed, "The call '\(other.map(\.call.description) ?? "")' was answered with something else.")
  }

  static func unknown(_ call: ClientCallID) -> CentaurError {
    CentaurError(.unknownCall, "There is no call with the id '\(call)'.")
  }

  /// Writes down what the tools said, then tells the harness.
  private func resume(with outputs: [ToolOutput], _ request: TurnRequest) async throws -> AdmittedTurn {
    guard let session, let running, let waiting = running.waits.waiting, process?.isReady == true else {
      throw CentaurError(.internalFailure, "The turn does not wait.")
    }
    let id = running.execution.id
    let outputs = Self.outputs(outputs, beside: request.input)
    let number = try await services.store.replies(id).count + 1
    let reply = reply(to: request, id, number: number, at: services.clock.now, in: session, afterSeq: waiting.seq)
    let answered = Set(outputs.map(\.call))
    let left = running.waits.calls.filter { !answered.contains($0.id) }
    var events = [EventDraft(.executionResumed(outputs), execution: id)]
    if !left.isEmpty { events.append(EventDraft(.executionWaiting(left, running.waits.usage), execution: id)) }
    let offset = process?.splitter.unread ?? 0
    let journal = try outputs.map {
      HarnessJournalChange.append(try HarnessJournalEntry.input(.answer($0), offset: offset).bytes)
    }
    let written = try await commit(events, replies: [reply], harnessJournal: journal)
    noteWaits(written)
    for output in outputs { await drive { $0.answer(output) } }
    guard let execution = try await services.store.execution(id) else {
      throw CentaurError(.storeCorrupt, "The turn that waited is missing.")
    }
    return try admitted(execution, reply, isReplay: false)
  }
}

extension ControlPlane {
  /// The request, with its session: what a tool said names the turn that waits for it, and so its session.
  /// - Throws: `CentaurError` with `unknownCall`, `tooManyTools`
  func addressed(_ request: TurnRequest) async throws -> TurnRequest {
    let limit = services.configuration.limits.tools
    guard request.options.tools.count <= limit else {
      throw CentaurError(
        .tooManyTools, "A request may have \(limit) functions, not \(request.options.tools.count).", parameter: "tools")
    }
    guard let call = request.outputs.first?.call else { return request }
    guard request.outputs.allSatisfy({ $0.call.execution == call.execution }) else {
      throw CentaurError(.unknownCall, "The outputs answer calls of different turns.")
    }
    guard Set(request.outputs.map(\.call)).count == request.outputs.count else {
      throw CentaurError(.callClosed, "The request answers a call twice.")
    }
    switch request.session {
    case .fresh, .compacted: break
    case .key, .continuing, .conversation: return request
    }
    guard let execution = try await services.store.execution(call.execution),
      let session = try await services.store.session(execution.sessionID), session.owner == request.owner
    else { throw SessionDrive.unknown(call) }
    var addressed = request
    addressed.session = .key(session.key)
    return addressed
  }
}
