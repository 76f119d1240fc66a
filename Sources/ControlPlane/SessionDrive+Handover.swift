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
    let message = Message(parts: said + request.input.flatMap(\.parts), clientID: Self.handover(request))
    (handed.input, handed.outputs) = ([message], [])
    (handed.head, handed.busy, handed.takesOver) = (nil, .queue, true)
    return handed
  }

  /// The turn to which what a request says went before.
  func turnThatTookOver(_ request: TurnRequest) async throws -> ExecutionID? {
    guard let session else { return nil }
    let name = Self.handover(request)
    return try await services.store.takers(session.id, clientIDs: [name])[name]?.execution
  }

  /// The name by which such a request is known again: other words beside the outputs are something new.
  private static func handover(_ request: TurnRequest) -> String {
    let call = request.outputs.first.map(\.call.description) ?? ""
    guard !request.input.isEmpty else { return "handover:\(call)" }
    var words = HistoryDigest(of: request.owner)
    words.add(request.input + [Message(role: .assistant, parts: [])])
    return "handover:\(call):\(words.value)"
  }
}
