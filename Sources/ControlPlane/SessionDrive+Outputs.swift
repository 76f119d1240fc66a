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
      if running.isWaiting, !running.isInterrupted, request.outputs.allSatisfy({ waiting.contains($0.call) }) {
        return try await resume(with: request.outputs, request)
      }
    }
    if let other = try await turnThatTookOver(request) { return try await attach(other, request) }
    guard let execution = try await services.store.execution(id), execution.sessionID == session?.id else {
      throw Self.unknown(first.call)
    }
    var waits = TurnWaits()
    try await read(execution, withPieces: false) { waits.fold($0) }
    for output in request.outputs where !waits.asked.contains(output.call) { throw Self.unknown(output.call) }
    let isEnding = running.map { $0.execution.id == id && $0.isInterrupted } ?? false
    let waiting = execution.status.isTerminal || isEnding ? [] : Set(waits.calls.map(\.id))
    let new = request.outputs.filter { waiting.contains($0.call) }
    let outputs = waits.oldestFirst(request.outputs)
    let repeated = Self.told(outputs, beside: request.input)
    let isRepeated = new.isEmpty && repeated.allSatisfy { waits.answered[$0.call]?.output == $0 }
    // Whatever stands beside it, an output says what it said before.
    if !isRepeated, let other = outputs.first(where: { waits.isContradicted(by: $0) }) { throw Self.closed(other.call) }
    if !new.isEmpty { return try await resume(with: new, request) }
    guard isRepeated else {
      guard request.input.isEmpty else { return nil }
      throw Self.closed(repeated, waits)
    }
    guard let last = outputs.last.flatMap({ waits.answered[$0.call] }),
      // A message that steered the turn since may have been answered from there on too.
      let reply = try await services.store.replies(id).first(where: { $0.afterSeq == last.afterSeq })
    else { throw CentaurError(.storeCorrupt, "The reply in which the turn went on is missing.") }
    services.metrics.turnsReplayed.increment()
    logger.info("an output was sent again", metadata: ["execution": "\(id)"])
    return try admitted(execution, reply, isReplay: true)
  }

  /// What the user says beside an output is for the agent too, and its harness takes nothing else now.
  private static func told(_ outputs: [ToolOutput], beside said: [Message]) -> [ToolOutput] {
    var told = outputs
    if !told.isEmpty { told[told.count - 1].parts += said.flatMap(\.parts) }
    return told
  }

  private static func closed(_ outputs: [ToolOutput], _ waits: TurnWaits) -> CentaurError {
    if let late = outputs.first(where: { waits.answered[$0.call] == nil }) { return Self.late(late.call) }
    let other = outputs.first { waits.answered[$0.call]?.output != $0 } ?? outputs[0]
    return closed(other.call)
  }

  private static func closed(_ call: ClientCallID) -> CentaurError {
    CentaurError(.callClosed, "The call '\(call)' was answered with something else.")
  }

  private static func late(_ call: ClientCallID) -> CentaurError {
    CentaurError(.callClosed, "The turn that asked for the call '\(call)' ended before it was answered.")
  }

  static func unknown(_ call: ClientCallID) -> CentaurError {
    CentaurError(.unknownCall, "There is no call with the id '\(call)'.")
  }

  /// Writes down what the tools said, and what the harness has asked for meanwhile, then tells the harness.
  private func resume(with outputs: [ToolOutput], _ request: TurnRequest) async throws -> AdmittedTurn {
    guard let session, let running, let waiting = running.waits.waiting, var machine = process?.machine,
      process?.isReady == true
    else { throw CentaurError(.internalFailure, "The turn does not wait.") }
    let id = running.execution.id
    let instructions = otherInstructions(request)
    var outputs = outputs
    outputs[outputs.count - 1].instructions = instructions
    let told = Self.told(outputs, beside: request.input).map(given)
    let number = try await services.store.replies(id).count + 1
    let reply = reply(to: request, id, number: number, at: services.clock.now, in: session, afterSeq: waiting.seq)
    let answered = Set(outputs.map(\.call))
    let left = running.waits.calls.filter { !answered.contains($0.id) }
    let said = request.asSaid(request.input)
    var payloads = [.executionResumed(outputs, messages: said.count)] + said.map(EventPayload.messageAppended)
    if !left.isEmpty { payloads.append(.executionWaiting(left, running.waits.usage)) }
    if let warning = Self.otherTools(request, running.execution) { payloads.append(warning) }
    // The machine hears the answers first: calls that it has kept back until now are in the log with them, so that the
    // client is told of these at once, and a server that goes on from here tells of them once.
    let actions = told.flatMap { machine.answer($0) }
    let asked = actions.compactMap { if case .emit(let draft) = $0 { draft } else { nil } }
    let offset = process?.splitter.unread ?? 0
    let journal = try told.map {
      HarnessJournalChange.append(try HarnessJournalEntry.input(.answer($0), offset: offset).bytes)
    }
    var takes: [String: ExecutionID?] = [:]
    for clientID in said.compactMap(\.clientID) { takes[clientID] = id }
    let written = try await commit(
      payloads.map { EventDraft($0, execution: id) } + asked, takes: takes, replies: [reply],
      instructions: instructions, harnessJournal: journal)
    process?.machine = machine
    noteWaits(written)
    for action in actions { await carryOut(action) }
    guard let execution = try await services.store.execution(id) else {
      throw CentaurError(.storeCorrupt, "The turn that waited is missing.")
    }
    return try admitted(execution, reply, isReplay: false)
  }

  /// The turn has the functions that it began with: who offers others beside an output is told so.
  private static func otherTools(_ request: TurnRequest, _ turn: Execution) -> EventPayload? {
    let others = Set(request.options.tools).subtracting(turn.options.tools).map(\.name).sorted()
    guard !others.isEmpty else { return nil }
    return .warning(
      code: "tools_not_offered",
      message: "The turn goes on with the functions that it began with. Offered later, and not given to the agent: "
        + "\(others.joined(separator: ", ").prefix(500)).")
  }
}

extension ControlPlane {
  /// The request, with its session: what a tool said names the turn that waits for it, and so its session.
  /// - Throws: `CentaurError` with `unknownCall`, `tooManyTools`, `toolsTooLarge`
  func addressed(_ request: TurnRequest) async throws -> TurnRequest {
    let limit = services.configuration.limits.tools
    guard request.options.tools.count <= limit else {
      throw CentaurError(
        .tooManyTools, "A request may have \(limit) functions, not \(request.options.tools.count).", parameter: "tools")
    }
    try checkSize(of: request.options.tools)
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

  /// Every turn's event holds all of them, whoever reads it.
  private nonisolated func checkSize(of tools: [ClientTool]) throws(CentaurError) {
    let limit = services.configuration.limits.toolBytes
    let size = tools.reduce(0) { $0 + $1.size }
    guard size <= limit else {
      throw CentaurError(
        .toolsTooLarge,
        "The names, descriptions and schemas of a request's functions may have \(limit) bytes together, not \(size).",
        parameter: "tools")
    }
  }
}

extension SessionStore {
  /// What outputs say of calls that were over before they were answered, for an agent that goes on from there.
  func lateOutputs(_ outputs: [ToolOutput]) async throws -> [Message] {
    guard let id = outputs.first?.call.execution, let turn = try await execution(id) else { return [] }
    var (waits, names) = (TurnWaits(), [ClientCallID: String]())
    var cursor = turn.firstSeq - 1
    while true {
      let page = try await eventsWithoutPieces(turn.sessionID, after: cursor, limit: 1000)
      for event in page where event.executionID == id {
        waits.fold(event)
        if case .executionWaiting(let calls, _) = event.payload { for call in calls { names[call.id] = call.name } }
      }
      guard let last = page.last, last.seq < turn.terminalSeq ?? .max else { break }
      cursor = last.seq
    }
    return outputs.filter { waits.answered[$0.call] == nil }.map { $0.told(of: names[$0.call]) }
  }
}
