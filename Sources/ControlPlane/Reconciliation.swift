import SessionModel

/// Reads a request against what its session has taken: is its input new, was it taken before (a retry), or does it
/// add to the turn that runs? A pure decision; the drive loop gathers the facts and carries it out.
///
/// Raw bodies are never compared: Codex writes the keys of a retried body in another order
/// (Codex 0.163.0, recorded in wire/codex-client/d_mid.json).
struct Reconciliation {
  /// What the store and the drive loop know.
  struct Facts: Sendable {
    /// The session exists and has taken input before.
    var isKnown: Bool
    /// How messages were taken, by the client's id of each.
    var takers: [String: TakenInput]
    /// The turn that the client's name for this turn (`turnKey`) stands for.
    var turn: Execution?
    /// The turn that runs, and the client's name for it.
    var running: Execution?
    /// The newest turn, where it matters.
    var newest: Execution?
    /// The turns among `takers` that did not come to an answer.
    var failed: Set<ExecutionID> = []
  }

  enum Decision: Sendable, Hashable {
    /// A turn of its own, in a session that may be told `history` first.
    case start(input: [Message], history: [Message])
    /// The input was taken by a turn that failed, and its user asks again: a turn of its own.
    case repeated(input: [Message])
    /// The input was taken: show that turn again from its beginning.
    case attach(ExecutionID)
    /// The turn that runs, or waits to be run, is to hear this too.
    case steer(ExecutionID, input: [Message])
    /// There is nothing to do and no turn to show.
    case nothing
  }

  static func decide(_ request: TurnRequest, _ facts: Facts) -> Decision {
    guard facts.isKnown else { return seed(request) }
    if request.continues { return (facts.running ?? facts.newest).map { .attach($0.id) } ?? .nothing }
    let fresh = request.input.filter { message in
      guard let id = message.clientID else { return true }
      return facts.takers[id] == nil
    }
    // Input without ids cannot be told from a retry by its messages; the client's name for the turn tells.
    let isRepeated = facts.turn != nil && fresh.allSatisfy { $0.clientID == nil }
    if fresh.isEmpty || isRepeated {
      // What was added to a turn may have become a turn of its own: whoever took the newest message answers.
      let taker = request.input.reversed().lazy.compactMap { $0.clientID }.compactMap { facts.takers[$0]?.execution }
        .first
      guard let answering = taker ?? facts.turn?.id else { return .nothing }
      guard facts.turn == nil, request.repeatsFailedTurns, facts.failed.contains(answering) else {
        return .attach(answering)
      }
      return .repeated(
        input: request.input.filter { $0.clientID.flatMap { facts.takers[$0]?.execution } == answering })
    }
    if let turn = facts.turn, turn.id == facts.running?.id || turn.status == .queued {
      return .steer(turn.id, input: fresh)
    }
    return .start(input: fresh, history: [])
  }

  /// A session that is new to us runs the last thing said; what came before is what the harness is told first.
  private static func seed(_ request: TurnRequest) -> Decision {
    guard let last = request.input.last else { return .nothing }
    if request.isOneMessage { return .start(input: request.input, history: request.history()) }
    // Several messages of a program are one question; of a CLI, all but the last were turns of their own.
    guard request.hasHistory || request.client == .cli else { return .start(input: request.input, history: []) }
    return .start(input: [last], history: request.history() + request.input.dropLast())
  }
}
