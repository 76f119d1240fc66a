import SessionModel

/// What a turn answered, held against the schema that its client asked for.
///
/// No harness promises it in all cases (docs/wire.md, the answer's form), so the log says where it is not so.
extension SessionDrive {
  /// The drafts, with a warning before the end of a turn whose answer is not what was asked for.
  func judged(_ drafts: [EventDraft]) -> [EventDraft] {
    guard let running, let schema = running.execution.options.outputSchema else { return drafts }
    var judged: [EventDraft] = []
    for draft in drafts {
      if draft.executionID == running.execution.id {
        self.running?.noteAnswer(draft.payload)
        if case .executionCompleted = draft.payload, let warning = misfit(JSONSchema(schema)) {
          judged.append(EventDraft(warning, execution: draft.executionID))
        }
      }
      judged.append(draft)
    }
    return judged
  }

  private func misfit(_ schema: JSONSchema) -> EventPayload? {
    guard let misfit = schema.misfit(of: running?.answer ?? "") else { return nil }
    let place = misfit.path.isEmpty ? "it" : "'\(misfit.path.prefix(256))'"
    return .warning(
      code: EventPayload.answerMisfitCode, message: "The answer does not fit the schema: \(place) \(misfit.reason).")
  }
}

extension SessionDrive.RunningTurn {
  /// Keeps the newest message, for a turn whose answer is to follow a schema.
  mutating func noteAnswer(_ payload: EventPayload) {
    guard execution.options.outputSchema != nil, case .itemCompleted(let item) = payload,
      case .message(let message) = item.content
    else { return }
    answer = message.text
  }
}
