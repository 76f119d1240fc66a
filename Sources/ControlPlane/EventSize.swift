import SessionModel

extension EventPayload {
  /// About how many bytes it adds to the log: its text, and what an event has beside that.
  var logSize: Int { size + 128 }

  /// About how many bytes of text it holds; what every event has beside that does not count.
  var size: Int {
    switch self {
    case .sessionCreated(let created): created.instructions?.utf8.count ?? 0
    case .messageAppended(let message): message.parts.size
    case .executionQueued(let options): options.size
    case .executionStarted(_, let told): told?.utf8.count ?? 0
    case .executionWaiting(let calls, _): calls.reduce(0) { $0 + $1.arguments.size }
    case .executionResumed(let outputs, _):
      outputs.reduce(0) { $0 + $1.parts.size + ($1.instructions?.utf8.count ?? 0) }
    case .itemStarted(let item), .itemCompleted(let item): item.content.size
    case .itemDelta(let delta): delta.text.utf8.count
    case .unrecognized(_, let json): json.size
    default: 0
    }
  }
}

extension TurnOptions {
  fileprivate var size: Int {
    tools.reduce(instructions?.utf8.count ?? 0) {
      $0 + $1.name.utf8.count + $1.description.utf8.count + $1.parameters.size
    }
      + (outputSchema?.size ?? 0)
  }
}

extension [Message.Part] {
  fileprivate var size: Int {
    reduce(0) { sum, part in
      switch part {
      case .text(let text): sum + text.utf8.count
      case .image(let url, _), .file(_, let url): sum + url.utf8.count
      }
    }
  }
}

extension Item.Content {
  fileprivate var size: Int {
    switch self {
    case .message(let message): message.text.utf8.count
    case .reasoning(let reasoning): reasoning.summary.reduce(reasoning.text.utf8.count) { $0 + $1.utf8.count }
    case .command(let command): command.command.utf8.count + command.output.utf8.count
    case .fileChange(let change): change.changes.reduce(0) { $0 + $1.path.utf8.count + $1.diff.utf8.count }
    case .toolCall(let call): call.arguments.size + (call.result?.size ?? 0)
    case .plan(let plan): plan.steps.reduce(plan.text.utf8.count) { $0 + $1.text.utf8.count }
    case .webSearch(let search): search.query.utf8.count
    case .compaction: 0
    case .other(let other): other.raw.size
    }
  }
}

extension JSONValue {
  fileprivate var size: Int {
    switch self {
    case .null, .bool, .int, .double: 8
    case .string(let text): text.utf8.count
    case .array(let values): values.reduce(0) { $0 + $1.size }
    case .object(let object): object.members.reduce(0) { $0 + $1.key.utf8.count + $1.value.size }
    }
  }
}
