import SessionModel

/// What turns in line have for the agent beside their users' words, as a fold over a session's log: instructions, and
/// what was said beside the session's turns. Where one ends before it begins, its instructions go to the turn behind it in
/// line, and what was said to the turn that begins next.
///
/// It also knows whether the agent has heard its newest instructions for sure: a turn that was answered has. So a fold
/// may begin with any turn that was answered (`SessionDrive.turnsInLine`).
struct TurnsInLine: Sendable {
  typealias Said = (seq: Int64, message: Message)

  private struct Turn {
    let id: ExecutionID
    var instructions: String?
    var passedOn: [Said]
  }

  private var line: [Turn] = []
  /// Of a turn whose `execution.queued` comes right behind them.
  private var said: (by: ExecutionID, messages: [Said])?
  /// What turns that ended before they began have left for the next one.
  private(set) var left: [Said] = []
  /// The turn with which the agent was told instructions last was answered, or none was told any.
  private(set) var areInstructionsHeard = true

  /// The newest instructions that a turn in line brings.
  var newestInstructions: String? { line.last { $0.instructions != nil }?.instructions }

  /// The instructions under which a turn is to run; nil: those that the agent was told last.
  func instructions(of turn: Execution) -> String? {
    line.first { $0.id == turn.id }?.instructions ?? turn.options.instructions
  }

  mutating func fold(_ event: SessionEvent) {
    guard let id = event.executionID else { return }
    switch event.payload {
    case .messageAppended(let message):
      if said?.by != id { said = (id, []) }
      said?.messages.append((event.seq, message))
      return
    case .executionQueued(let options):
      let own = said?.by == id ? said?.messages : nil
      line.append(
        Turn(id: id, instructions: options.instructions, passedOn: Array((own ?? []).prefix(options.passesOn))))
    case .executionStarted(_, let noted):
      let own = line.first { $0.id == id }?.instructions
      line.removeAll { $0.id == id }
      left = []
      if EventPayload.told(noted, own) != nil { areInstructionsHeard = false }
    case .executionResumed(let outputs, _):
      if outputs.contains(where: { $0.instructions != nil }) { areInstructionsHeard = false }
    case .executionCompleted: areInstructionsHeard = true
    case .executionFailed, .executionCancelled: leave(id, isAsIfUnasked: PendingMessages.wasNotRun(event))
    default: break
    }
    said = nil
  }

  private mutating func leave(_ id: ExecutionID, isAsIfUnasked: Bool) {
    guard let index = line.firstIndex(where: { $0.id == id }) else { return }
    let turn = line.remove(at: index)
    // Who is behind it may have been told from that one's on that nothing changes.
    if index < line.count, line[index].instructions == nil { line[index].instructions = turn.instructions }
    // What such a turn took is free again: the next one takes it anew.
    if !isAsIfUnasked { left += turn.passedOn }
  }
}

extension SessionDrive {
  /// What turns in line have for the agent. The drive folds what it writes from then on.
  func readTurnsInLine() async throws -> TurnsInLine {
    if let turnsInLine { return turnsInLine }
    guard let session else { return TurnsInLine() }
    let newest = try await services.store.newestExecution(session.id)
    // The usual case: it costs no look at the log.
    let read = newest?.status == .completed ? TurnsInLine() : try await turnsInLine(before: nil)
    turnsInLine = read
    return read
  }

  /// What turns that ended before they began had left for a turn that has begun since.
  func left(for turn: Execution) async throws -> [Message] {
    try await told(try await turnsInLine(before: turn).left)
  }

  /// Without what its client has taken out again.
  func told(_ left: [TurnsInLine.Said]) async throws -> [Message] {
    let messages = left.map(\.message)
    let ids = messages.compactMap(\.clientID)
    guard !ids.isEmpty, let conversation = ControlPlane.conversation(of: key) else { return messages }
    let hidden = try await services.store.hiddenItems(conversation, among: ids)
    return messages.filter { message in message.clientID.map { !hidden.contains($0) } ?? true }
  }

  /// - Parameter turn: up to its beginning; nil: up to now
  private func turnsInLine(before turn: Execution?) async throws -> TurnsInLine {
    var folded = TurnsInLine()
    guard let session else { return folded }
    let answered = try await services.store.newestAnswered(session.id, before: turn?.ordinal ?? .max)
    var cursor = answered.map { $0.firstSeq - 1 } ?? 0
    while true {
      let page = try await services.store.eventsWithoutPieces(session.id, after: cursor, limit: 1000)
      for event in page {
        if let turn, event.executionID == turn.id, case .executionStarted = event.payload { return folded }
        folded.fold(event)
      }
      guard let last = page.last else { return folded }
      cursor = last.seq
    }
  }
}
