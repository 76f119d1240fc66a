import Ingress
import SessionModel

/// A turn's events as a message's events: a pure fold, so that a replay gives the bytes that the live stream gave.
///
/// Rules (wire/claude-client.md §4, §5):
/// - One block is open at a time. What happens while the agent writes a message waits until the message is closed.
/// - What the agent says is text; its reasoning is thinking, for those who asked; each finished piece of work is a short
///   text of its own, because a person at Claude Code sees nothing else of it.
/// - A turn ends with one text that is not empty: `claude -p` prints the last text and nothing else.
/// - Where the turn waits for a program's tools the message ends with their calls. In Claude Code no tool is ever called,
///   but for its own StructuredOutput where the request lists it.
struct MessagesTranslator: TurnTranslator {
  let object: MessageObject
  private let execution: ExecutionID
  /// The wait behind which the message begins, and what the turn had cost there.
  private let afterSeq: Int64
  private var usageBefore = TurnUsage()
  private let echo: MessagesEcho
  private var writer: BlockWriter
  /// The log's ordinal of the message that is being written, and what came of it.
  private var message: (ordinal: Int, text: String)?
  /// The log's ordinal of the reasoning that is being written, and how many parts of it were.
  private var reasoning: (ordinal: Int, parts: Int)?
  private var deferred: [EventPayload] = []
  /// What the agent said last.
  private var lastSaid = ""
  /// Whether that is the last thing written.
  private var endsWithAnswer = false
  private var usage = TurnUsage()
  /// What the log warned of.
  private var warnings: [JSONValue] = []
  private(set) var outcome: Outcome?
  /// The whole message, once the turn is over.
  private(set) var response: JSONValue = .null

  /// How the turn ended.
  enum Outcome: Sendable, Hashable {
    case completed
    /// The turn waits for the client's tools.
    case calls([ClientCall])
    case failed(ExecutionFailure)
  }

  /// - Parameter afterSeq: the wait behind which the message begins (`Reply.afterSeq`)
  init(messageID: String, execution: ExecutionID, echo: MessagesEcho, afterSeq: Int64 = 0) {
    self.afterSeq = afterSeq
    object = MessageObject(id: messageID, model: echo.model)
    self.execution = execution
    self.echo = echo
    // An SDK has nothing else to tell by which turn this was, when it sends it back. Claude Code has its session.
    writer =
      echo.isClaudeCode
      ? BlockWriter(held: echo.heldTexts) : BlockWriter(held: echo.heldTexts, signature: "rs_\(execution)_0")
  }

  var isFinished: Bool { outcome != nil }
  var keepAlive: MessagesEvent { .ping }

  mutating func start() -> [MessagesEvent] {
    let begun = object.json(content: [], stopReason: nil, usage: MessageObject.noUsage)
    return [MessagesEvent("message_start", [("message", begun)]), .ping]
  }

  mutating func fold(_ event: SessionEvent) -> [MessagesEvent] {
    guard event.executionID == execution, !isFinished else { return [] }
    guard event.seq > afterSeq else {
      if case .executionWaiting(_, let usage) = event.payload { usageBefore = usage }
      return []
    }
    switch event.payload {
    case .executionWaiting(let calls, let usage): return echo.isClaudeCode ? [] : call(calls, usage)
    case .itemStarted(let item): return whenFree(event.payload) { $0.started(item) }
    case .itemDelta(let delta): return piece(delta)
    case .itemCompleted(let item): return completed(item)
    case .usageUpdated(_, let turn):
      usage = turn
      return []
    case .warning(let code, let text):
      guard echo.isClaudeCode else {
        guard EventPayload.codesForClients.contains(code) else { return [] }
        warnings.append(["code": .string(code), "message": .string(text)])
        return []
      }
      return code == EventPayload.notRewoundCode ? write(note: text) : []
    case .executionCompleted(let usage): return finish(usage)
    case .executionFailed(let failure, let usage): return fail(failure, usage)
    case .executionCancelled(let reason, let usage):
      return fail(
        ExecutionFailure(CentaurError(.turnCancelled, "The turn was ended before its answer (\(reason)).")), usage)
    default: return []
    }
  }

  // MARK: Items

  /// Runs `body` now, or, while a message is being written, when that is closed.
  private mutating func whenFree(
    _ payload: EventPayload, _ body: (inout MessagesTranslator) -> [MessagesEvent]
  ) -> [MessagesEvent] {
    guard message == nil else {
      deferred.append(payload)
      return []
    }
    return body(&self)
  }

  private mutating func started(_ item: Item) -> [MessagesEvent] {
    switch item.content {
    case .message(let begun):
      let before = closeReasoning()
      message = (item.ordinal, "")
      return before + said(begun.text)
    case .reasoning:
      guard echo.showsThinking else { return [] }
      let before = closeReasoning()
      reasoning = (item.ordinal, 0)
      return before
    default: return []
    }
  }

  private mutating func piece(_ delta: ItemDelta) -> [MessagesEvent] {
    if let message {
      if delta.ordinal == message.ordinal { return delta.field == .text ? said(delta.text) : [] }
      if case .output = delta.field { return [] }
      deferred.append(.itemDelta(delta))
      return []
    }
    guard case .summary(let index) = delta.field, let open = reasoning, open.ordinal == delta.ordinal else { return [] }
    let separator = index >= open.parts && open.parts > 0 ? "\n\n" : ""
    reasoning?.parts = max(open.parts, index + 1)
    return thinking(separator + delta.text)
  }

  private mutating func completed(_ item: Item) -> [MessagesEvent] {
    if case .message(let whole) = item.content, let open = message, open.ordinal == item.ordinal {
      // A harness that gives no pieces gives the text with the end.
      let rest = whole.text.rest(behind: open.text).map { said($0) } ?? []
      return rest + closeMessage() + drainDeferred()
    }
    return whenFree(.itemCompleted(item)) { $0.closed(item) }
  }

  private mutating func closed(_ item: Item) -> [MessagesEvent] {
    switch item.content {
    case .message: return []
    case .reasoning(let whole):
      guard let open = reasoning, open.ordinal == item.ordinal else { return [] }
      var events: [MessagesEvent] = []
      var parts = whole.summary.dropFirst(open.parts)
      if whole.summary.isEmpty, !whole.text.isEmpty { parts = [whole.text] }
      for part in parts {
        events += thinking((reasoning?.parts ?? 0) > 0 ? "\n\n\(part)" : part)
        reasoning?.parts += 1
      }
      return events + closeReasoning()
    case .toolCall(let call) where call.origin == .client && !echo.isClaudeCode: return []
    default:
      guard echo.showsWork, let note = WorkNarration.note(item) else { return [] }
      return closeReasoning() + write(note: note)
    }
  }

  private mutating func drainDeferred() -> [MessagesEvent] {
    let waiting = deferred
    deferred = []
    return waiting.flatMap { payload -> [MessagesEvent] in
      switch payload {
      case .itemStarted(let item): whenFree(payload) { $0.started(item) }
      case .itemDelta(let delta): piece(delta)
      case .itemCompleted(let item): completed(item)
      default: []
      }
    }
  }

  // MARK: Blocks

  /// What the agent says. A structured answer is known as such only when the turn has ended: it is kept until then.
  private mutating func said(_ text: String) -> [MessagesEvent] {
    guard !text.isEmpty else { return [] }
    message?.text += text
    return echo.hasStructuredOutput ? [] : writer.addText(text)
  }

  private mutating func closeMessage() -> [MessagesEvent] {
    guard let closed = message else { return [] }
    message = nil
    guard !closed.text.isEmpty else { return [] }
    lastSaid = closed.text
    endsWithAnswer = true
    return writer.closeOpen()
  }

  private mutating func thinking(_ text: String) -> [MessagesEvent] {
    endsWithAnswer = false
    return writer.addThinking(text)
  }

  private mutating func closeReasoning() -> [MessagesEvent] {
    guard reasoning != nil else { return [] }
    reasoning = nil
    return writer.closeOpen()
  }

  private mutating func write(note: String) -> [MessagesEvent] {
    endsWithAnswer = false
    return writer.text(note)
  }

  // MARK: The end

  private static let noAnswer = "The agent ended the turn without a closing message."

  private mutating func settle(_ usage: TurnUsage) -> [MessagesEvent] {
    if usage.modelCalls > 0 { self.usage = usage }
    let closed = closeMessage()
    return closed + drainDeferred() + closeMessage() + closeReasoning() + writer.closeOpen()
  }

  private mutating func finish(_ usage: TurnUsage) -> [MessagesEvent] {
    var events = settle(usage)
    var stopReason = "end_turn"
    if echo.hasStructuredOutput, let value = try? JSONValue(parsing: lastSaid), case .object = value {
      events += writer.structuredOutput(value, id: "toolu_\(execution)")
      stopReason = "tool_use"
    } else if !endsWithAnswer || echo.hasStructuredOutput || writer.content.isEmpty {
      events += writer.text(lastSaid.isEmpty ? Self.noAnswer : lastSaid)
    }
    // The client has all of it. It takes an answer without any text for none at all and asks once more.
    if writer.content.isEmpty { events += writer.repeated(lastSaid.isEmpty ? Self.noAnswer : lastSaid) }
    outcome = .completed
    return events + stop(stopReason)
  }

  /// The client is to run its tools: the message ends, and the turn waits.
  private mutating func call(_ calls: [ClientCall], _ usage: TurnUsage) -> [MessagesEvent] {
    var events = settle(usage)
    for call in calls { events += writer.toolUse(call) }
    outcome = .calls(calls)
    return events + stop("tool_use")
  }

  private mutating func stop(_ stopReason: String) -> [MessagesEvent] {
    let usage = usage.since(usageBefore)
    let shown = MessageObject.usage(usage, isClamped: echo.isClaudeCode)
    var message = object.json(content: writer.content, stopReason: stopReason, usage: shown).object ?? JSONObject()
    let ours = [("centaur_usage", usage.json)] + (warnings.isEmpty ? [] : [("centaur_warnings", .array(warnings))])
    for (name, value) in ours { message.append(name, value) }
    response = .object(message)
    let delta: JSONValue = ["stop_reason": .string(stopReason), "stop_sequence": .null]
    return [
      MessagesEvent("message_delta", [("delta", delta), ("usage", shown)] + ours), MessagesEvent("message_stop"),
    ]
  }

  /// Claude Code ends its turn and shows our sentence only for an `invalid_request_error` behind a finished block;
  /// anywhere else, and with any other type, it asks the same again (wire/claude-client.md §4).
  private mutating func fail(_ failure: ExecutionFailure, _ usage: TurnUsage) -> [MessagesEvent] {
    var events = settle(usage)
    outcome = .failed(failure)
    if echo.isClaudeCode, writer.content.isEmpty { events += writer.text("The turn failed.") }
    let error = MessagesError.body(CentaurError(failure), isClaudeCode: echo.isClaudeCode)
    return events + [MessagesEvent("error", [("error", error)])]
  }
}
