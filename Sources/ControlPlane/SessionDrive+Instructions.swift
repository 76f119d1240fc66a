import Harness
import SessionModel

/// What a client instructs the agent, over a session's life.
///
/// The session's first request gives instructions, and a later one may give others: OpenAI's are a request's, not a
/// conversation's, and a program with several agents hands one conversation from one to the next. A turn brings those of
/// its request (`TurnOptions.instructions`). When it begins the agent is told them, unless it has heard them before; the
/// session's row has what was told last, for the next harness. So nothing of it costs more in a long session.
extension SessionDrive {
  /// The instructions that a request brings, where they are others than the agent was told last.
  func otherInstructions(_ request: TurnRequest) -> String? {
    let wanted = request.instructions(after: session?.instructions)
    return wanted == session?.instructions ? nil : wanted
  }

  /// The instructions that a request's turn brings. One that comes into line has them in any case: what is told by the
  /// time that it begins is not known yet.
  func ownInstructions(_ request: TurnRequest) async throws -> String? {
    guard running != nil || !queue.isEmpty else { return otherInstructions(request) }
    guard request.instructions?.isEmpty == false else { return nil }
    return request.instructions(after: try await readTurnsInLine().newestInstructions ?? session?.instructions)
  }

  /// What the agent is told when a turn begins: its instructions where they are others than were told last; those of
  /// before once more where the turn that told them came to no answer, and the agent may not have heard them.
  func instructionsToTell(_ turn: Execution, _ line: TurnsInLine) -> String? {
    let current = session?.instructions
    guard let wanted = line.instructions(of: turn) ?? current, !wanted.isEmpty else { return nil }
    return wanted == current && line.areInstructionsHeard ? nil : wanted
  }

  /// A turn as its harness is given it.
  func given(_ execution: Execution, _ input: [Message], model: String, instructions: String?) -> HarnessTurn {
    HarnessTurn(
      execution: execution.id, input: input.map(\.asSaidByUser), model: model, options: execution.options,
      instructions: withPersona(instructions))
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
