import SessionModel

/// What the harness says of itself in a turn, and the turn's end.
extension ClaudeMachine {
  enum Ending {
    case completed
    case interrupted
    case failed(CentaurError)
  }

  /// A key that no tool has.
  private static let compaction = "compaction"

  mutating func noted(_ line: JSONValue) -> [HarnessAction] {
    switch line["subtype"]?.string {
    case "init": return noteConversation(line["session_id"]?.string)
    case "api_retry": return retried(line)
    case "status" where line["status"]?.string == "compacting":
      return settleText(as: nil) + (turn?.items.start(Self.compaction, .compaction) ?? [])
    case "status" where line["compact_result"]?.string == "failed":
      return turn?.items.complete(Self.compaction, .compaction, .failed) ?? []
    case "compact_boundary": return turn?.items.complete(Self.compaction, .compaction, .completed) ?? []
    default: return []
    }
  }

  private mutating func retried(_ line: JSONValue) -> [HarnessAction] {
    let status = line["error_status"]?.int.map { "status \($0)" } ?? "no answer"
    let attempt = "attempt \(line["attempt"]?.int ?? 0) of \(line["max_retries"]?.int ?? 0)"
    let warning = EventPayload.warning(
      code: "provider_retry", message: "The provider's answer could not be had (\(status)); \(attempt) to ask again.")
    return closeMessage() + (turn.map { [$0.items.emit(warning)] } ?? [])
  }

  mutating func ended(_ result: JSONValue) -> [HarnessAction] {
    var open = closeMessage()
    let ending: Ending
    if result["is_error"]?.bool != true {
      if answerSchema != nil, let answer = result["structured_output"], !answer.isNull {
        open += settleText(as: .commentary) + answered(with: answer)
      }
      ending = .completed
    } else if turn?.interruptReason != nil || result["terminal_reason"]?.string?.hasPrefix("aborted") == true {
      ending = .interrupted
    } else {
      ending = .failed(
        ClaudeFailure.read(result, error: turn?.apiError, isCutOff: turn?.isCutOff == true))
    }
    return open + countRest(result) + finish(ending)
  }

  /// The answer that follows a schema: the JSON, as the turn's last message.
  private mutating func answered(with answer: JSONValue) -> [HarnessAction] {
    let message = MessageItem(phase: .final, text: answer.text)
    return turn?.items.complete("answer", .message(message), .completed) ?? []
  }

  /// What was not seen of the turn's tokens: an agent's last answer, a summary, what the harness asks for itself.
  private mutating func countRest(_ result: JSONValue) -> [HarnessAction] {
    guard let counted = turn?.usage.sum else { return [] }
    let all = ClaudeUsage.sum(result["model_usage_since_last_result"])
    let rest = all - counted
    return rest == Usage() ? [] : countBeside(rest)
  }

  /// Closes the turn: open items, the terminal event, and the machine is free for the next turn.
  mutating func finish(_ ending: Ending) -> [HarnessAction] {
    let open = closeMessage() + settleText(as: nil)
    guard var over = turn else { return open }
    turn = nil
    let terminal: EventPayload
    switch ending {
    case .completed: terminal = .executionCompleted(over.usage)
    case .interrupted: terminal = .executionCancelled(reason: over.interruptReason ?? "interrupted", over.usage)
    case .failed(let error): terminal = .executionFailed(ExecutionFailure(error), over.usage)
    }
    return open + over.items.closeAll() + [
      .cancelTimer(.interrupt), over.items.emit(terminal), .turnEnded(over.execution),
    ]
  }
}
