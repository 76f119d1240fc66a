import Harness
import SessionModel

/// What a client instructs the agent, over a session's life.
///
/// The session's first request gives instructions, and a later one may give others: OpenAI's are a request's, not a
/// conversation's, and a program with several agents hands one conversation from one to the next. The agent is told once,
/// with the turn that brings them (`TurnOptions.instructions`); the session's row has what was told last, for the next
/// harness. So nothing of it costs more in a long session.
extension SessionDrive {
  /// The instructions that a request brings, where they are others than were told last, or will be when its turn has come.
  func otherInstructions(_ request: TurnRequest) -> String? {
    let last = queue.last { $0.execution.options.instructions != nil }?.execution.options.instructions
    let current = last ?? session?.instructions
    let wanted = request.instructions(after: current)
    return wanted == current ? nil : wanted
  }

  /// The instructions that the agent is to be told with the request's turn: others than before, or the last ones once
  /// more, where their turn came to no answer and the agent may not have heard them.
  func instructionsToTell(_ request: TurnRequest) async throws -> String? {
    if let others = otherInstructions(request) { return others }
    guard mayHaveMissedInstructions, let session else { return nil }
    let newest = try await services.store.newestExecution(session.id)
    mayHaveMissedInstructions = newest?.status.isTerminal == false
    guard let newest, newest.status == .failed || newest.status == .cancelled, let told = newest.options.instructions,
      told == session.instructions
    else { return nil }
    return told
  }

  func noteEnds(_ events: [EventDraft]) {
    for event in events where event.payload.isTerminal {
      if case .executionCompleted = event.payload {
        mayHaveMissedInstructions = false
      } else {
        mayHaveMissedInstructions = true
      }
    }
  }

  /// A turn as its harness is given it.
  func given(_ execution: Execution, _ input: [Message], model: String) -> HarnessTurn {
    HarnessTurn(
      execution: execution.id, input: input, model: model, options: execution.options,
      instructions: withPersona(execution.options.instructions))
  }

  /// What a client's tool said, as the harness is given it.
  func given(_ output: ToolOutput) -> ToolOutput {
    var output = output
    output.instructions = withPersona(output.instructions)
    return output
  }

  /// New instructions take the place of the client's earlier ones, not of the persona's.
  private func withPersona(_ instructions: String?) -> String? {
    guard let instructions else { return nil }
    let persona = session?.persona.flatMap { services.configuration.personas[$0] }
    return HarnessStart.instructions(persona, instructions)
  }
}

extension TurnRequest {
  /// Instructions with additions are no longer than this, in bytes: a program that adds some with each request would
  /// make each turn longer than the one before. Beyond it an addition takes the place of all.
  static let longestWithAdditions = 32 << 10

  /// The instructions that hold with this request, behind those that did before.
  func instructions(after current: String?) -> String? {
    guard let instructions, !instructions.isEmpty else { return current }
    guard addsInstructions, let current, !current.isEmpty else { return instructions }
    guard current != instructions, !current.hasSuffix("\n\n\(instructions)") else { return current }
    let both = "\(current)\n\n\(instructions)"
    return both.utf8.count <= Self.longestWithAdditions ? both : instructions
  }
}
