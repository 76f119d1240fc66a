import SessionModel

/// A program hands a conversation from one of its agents to another: it answers the call that asks for this with a request
/// that offers other functions. A turn has the functions that it began with, so what was said goes to a turn of its own,
/// and the one that waited ends.
extension SessionDrive {
  /// The request as one for a turn of its own; nil where it is none of that kind.
  func handedOver(_ request: TurnRequest) -> TurnRequest? {
    guard let running, running.isWaiting, let first = request.outputs.first,
      first.call.execution == running.execution.id
    else { return nil }
    let names = Dictionary(running.waits.calls.map { ($0.id, $0.name) }) { first, _ in first }
    guard request.outputs.allSatisfy({ names[$0.call] != nil }) else { return nil }
    let offered = Set(running.execution.options.tools.map(\.name))
    guard request.options.tools.contains(where: { !offered.contains($0.name) }) else { return nil }
    var handed = request
    let said = request.outputs.flatMap { output in
      [.text("[The function \(names[output.call] ?? "") was called, and said:]")] + output.parts
    }
    let message = Message(parts: said + request.input.flatMap(\.parts), clientID: Self.handover(first.call))
    (handed.input, handed.outputs) = ([message], [])
    (handed.head, handed.busy) = (nil, .supersede)
    return handed
  }

  /// The turn to which the output of a call went before.
  func turnThatTookOver(_ call: ClientCallID) async throws -> ExecutionID? {
    guard let session else { return nil }
    let name = Self.handover(call)
    return try await services.store.takers(session.id, clientIDs: [name])[name]?.execution
  }

  /// The name by which such a request is known again.
  private static func handover(_ call: ClientCallID) -> String { "handover:\(call)" }
}
