import Ingress
import SessionModel

/// A turn's events as a response's events: a pure fold, so that a replay gives the bytes that the live stream gave.
///
/// Rules beside those of the specification (wire/codex-client.md §3, §4):
/// - One output item is open at a time. What happens while the agent writes a message waits until the message is closed.
/// - The last message is the answer (`final_answer`), those before it are `commentary`. Where the harness has not said
///   which a message is, its text streams at once and its `output_item.done` waits for what follows: another item makes
///   it commentary, the turn's end the answer. So the answer comes last whatever the harness knows.
/// - Work is shown only to those who asked for it: summary parts while it runs, and what came of it when it is done. To
///   Codex that is a short message, as it shows its user nothing else; to a program one more summary part, as its SDK takes
///   all messages together for the answer (`output_text`).
/// - To a program what is said on the way ends with a blank line, so that what follows stands apart from it there.
/// - Where the turn waits for the client's tools the response ends, complete, with their calls last. To Codex none is ever
///   written: it would run on its user's machine.
struct ResponsesTranslator: TurnTranslator {
  private(set) var object: ResponseObject
  private let execution: ExecutionID
  /// The wait behind which the response begins, and what the turn had cost there.
  private let afterSeq: Int64
  private var usageBefore = TurnUsage()
  private var writer: OutputWriter
  /// The log's ordinal of the message that is open on the wire, or whose end waits.
  private var message: OpenMessage?
  /// The log's ordinal of the reasoning item that is open on the wire.
  private var reasoning: Int?
  /// The open one tells of work.
  private var tellsOfWork = false
  /// Work, by the ordinals whose ids reasoning items on the wire have.
  private var toldWork: Set<Int> = []
  /// Work that runs, by ordinal.
  private var runningWork: Set<Int> = []
  private var deferred: [EventPayload] = []
  private var usage = TurnUsage()
  private var isRunning = false
  private(set) var outcome: Outcome?

  private struct OpenMessage: Sendable {
    var ordinal: Int
    var phase: MessageItem.Phase?
    /// Its whole text and status, once the harness has closed it.
    var closed: (text: String, status: String)?
  }

  /// How the response ended.
  enum Outcome: Sendable, Hashable {
    case completed
    /// The turn waits for the client's tools.
    case calls([ClientCall])
    case failed(ExecutionFailure)
    case cancelled(reason: String)
  }

  /// - Parameter afterSeq: the wait behind which the response begins (`Reply.afterSeq`)
  init(
    responseID: String, execution: ExecutionID, createdAt: Timestamp, echo: ReplyEcho, afterSeq: Int64 = 0
  ) {
    object = ResponseObject(id: responseID, createdAt: createdAt, echo: echo)
    self.execution = execution
    self.afterSeq = afterSeq
    isRunning = afterSeq > 0
    writer = OutputWriter(held: echo.heldItemIDs)
  }

  private var echo: ReplyEcho { object.echo }
  var isFinished: Bool { outcome != nil }
  /// Whether anything of the turn has been shown.
  var hasOutput: Bool { !writer.output.isEmpty || writer.open != nil }
  /// The whole response, once it is finished.
  private(set) var response: JSONValue = .null
  /// How many events the stream has so far.
  var eventCount: Int { writer.sequence }

  /// The response as of now, for whoever asks for it by its id.
  ///
  /// The stream has no event for a response that was cancelled, and ends as one that is incomplete; the response object
  /// has a status for it, which the SDKs expect of `cancel`.
  var current: JSONValue {
    switch outcome {
    case nil:
      return object.json(
        status: isRunning ? "in_progress" : "queued", output: writer.outputSoFar(phase: message?.phase?.wireName))
    case .cancelled(let reason)? where TurnOptions.limitReasons.contains(reason): return response
    case .cancelled(let reason)?:
      guard case .object(var cancelled) = response else { return response }
      cancelled["status"] = "cancelled"
      cancelled["error"] = .null
      cancelled["incomplete_details"] = ["reason": .string(reason)]
      return .object(cancelled)
    case .completed?, .calls?, .failed?: return response
    }
  }

  /// `response.created` and `response.in_progress`.
  mutating func start() -> [ResponsesEvent] {
    let response = object.json(status: "in_progress")
    return [
      writer.event("response.created", [("response", response)]),
      writer.event("response.in_progress", [("response", response)]),
    ]
  }

  /// An event that keeps a quiet stream alive: `response.in_progress` again, under the number of the last event, so that
  /// it changes nothing for a client that counts, and one that comes back after that number misses nothing. It is not
  /// part of the fold.
  var keepAlive: ResponsesEvent { keepAlive(under: writer.sequence - 1) }

  func keepAlive(under number: Int) -> ResponsesEvent {
    ResponsesEvent(
      type: "response.in_progress",
      data: [
        "type": "response.in_progress", "sequence_number": JSONValue(max(0, number)),
        "response": object.json(status: "in_progress"),
      ])
  }

  mutating func fold(_ event: SessionEvent) -> [ResponsesEvent] {
    guard event.executionID == execution, !isFinished else { return [] }
    guard event.seq > afterSeq else {
      if case .executionWaiting(_, let usage) = event.payload { usageBefore = usage }
      return []
    }
    switch event.payload {
    case .executionWaiting(let calls, let usage):
      return echo.isCodex ? [] : finish(.calls(calls), usage, at: event.createdAt)
    case .executionStarted:
      isRunning = true
      return []
    case .itemStarted(let item): return whenFree(event.payload) { $0.started(item) }
    case .itemDelta(let delta): return piece(delta)
    case .itemCompleted(let item): return completed(item, event.payload)
    case .usageUpdated(_, let turn):
      usage = turn
      return []
    case .warning(let code, let message):
      if !echo.isCodex, EventPayload.codesForClients.contains(code) { object.warn(code, message) }
      return []
    case .executionCompleted(let usage): return finish(.completed, usage, at: event.createdAt)
    case .executionFailed(let failure, let usage): return finish(.failed(failure), usage, at: event.createdAt)
    case .executionCancelled(let reason, let usage):
      return finish(.cancelled(reason: reason), usage, at: event.createdAt)
    default: return []
    }
  }

  // MARK: Items

  /// Runs `body` now, or, while a message is being written, when that is closed.
  private mutating func whenFree(
    _ payload: EventPayload, _ body: (inout ResponsesTranslator) -> [ResponsesEvent]
  ) -> [ResponsesEvent] {
    if let message, message.closed == nil {
      deferred.append(payload)
      return []
    }
    return body(&self)
  }

  /// What the client itself is asked to do is a function call, not the agent's work.
  private func isClientCall(_ item: Item) -> Bool {
    guard case .toolCall(let call) = item.content else { return false }
    return call.origin == .client && !echo.isCodex
  }

  private func messageID(_ ordinal: Int) -> String { "msg_\(execution)_\(ordinal)" }
  private func reasoningID(_ ordinal: Int) -> String { "rs_\(execution)_\(ordinal)" }

  private mutating func started(_ item: Item) -> [ResponsesEvent] {
    guard !isClientCall(item) else { return [] }
    switch item.content {
    case .message(let started):
      guard !writer.isHeld(messageID(item.ordinal)) else { return [] }
      let before = settleMessage(asFinal: false) + closeReasoning()
      message = OpenMessage(ordinal: item.ordinal, phase: started.phase)
      return before + writer.openMessage(messageID(item.ordinal), phase: started.phase?.wireName)
        + (started.text.isEmpty ? [] : writer.addText(started.text))
    case .reasoning:
      guard echo.showsWork, !writer.isHeld(reasoningID(item.ordinal)) else { return [] }
      let before = settleMessage(asFinal: false) + closeReasoning()
      reasoning = item.ordinal
      return before + writer.openReasoning(reasoningID(item.ordinal))
    default:
      guard echo.showsWork, let live = WorkNarration.live(item.content) else { return [] }
      let id = reasoningID(item.ordinal)
      runningWork.insert(item.ordinal)
      guard !writer.isHeld(id) else { return [] }
      var events = settleMessage(asFinal: false)
      // Work that runs beside other work is one more part of the same item.
      if tellsOfWork { return events + writer.openPart() + writer.addSummary(live) }
      events += openWork(item.ordinal)
      return events + writer.openPart() + writer.addSummary(live)
    }
  }

  /// A reasoning item that tells of work. What is told when an earlier one has ended has an id of its own, of the same
  /// item of the log.
  private mutating func openWork(_ ordinal: Int) -> [ResponsesEvent] {
    let closed = closeReasoning()
    (reasoning, tellsOfWork) = (ordinal, true)
    let isFirst = toldWork.insert(ordinal).inserted
    return closed + writer.openReasoning(isFirst ? reasoningID(ordinal) : "rs_\(execution)_0\(ordinal)")
  }

  private mutating func piece(_ delta: ItemDelta) -> [ResponsesEvent] {
    if let message, message.closed == nil {
      if delta.ordinal == message.ordinal { return delta.field == .text ? writer.addText(delta.text) : [] }
      if case .output = delta.field { return [] }
      deferred.append(.itemDelta(delta))
      return []
    }
    guard case .summary(let index) = delta.field, reasoning == delta.ordinal,
      case .reasoning(_, let parts, _)? = writer.open
    else { return [] }
    return (index >= parts.count ? writer.openPart() : []) + writer.addSummary(delta.text)
  }

  private mutating func completed(_ item: Item, _ payload: EventPayload) -> [ResponsesEvent] {
    if case .message(let whole) = item.content, message?.ordinal == item.ordinal, message?.closed == nil {
      return closed(whole, item.status)
    }
    return whenFree(payload) { $0.closed(item) }
  }

  /// The open message is whole: it ends now if its phase is known, else when it is known what follows.
  private mutating func closed(_ whole: MessageItem, _ status: Item.Status) -> [ResponsesEvent] {
    let wireStatus = status == .incomplete ? "incomplete" : "completed"
    message?.closed = (whole.text, wireStatus)
    if message?.phase == nil { message?.phase = whole.phase }
    let rest = writer.addRest(of: whole.text)
    let events = message?.phase == nil && status != .incomplete ? [] : settleMessage(asFinal: false)
    return rest + events + drainDeferred()
  }

  private mutating func closed(_ item: Item) -> [ResponsesEvent] {
    guard !isClientCall(item) else { return [] }
    switch item.content {
    case .message: return []
    case .reasoning(let whole):
      guard reasoning == item.ordinal else { return [] }
      var events: [ResponsesEvent] = []
      // A harness that gives no pieces gives the parts with the end.
      if case .reasoning(_, let parts, _)? = writer.open {
        for part in whole.summary.dropFirst(parts.count) { events += writer.openPart() + writer.addSummary(part) }
      }
      return events + closeReasoning()
    default: return finishedWork(item)
    }
  }

  private mutating func finishedWork(_ item: Item) -> [ResponsesEvent] {
    runningWork.remove(item.ordinal)
    var events: [ResponsesEvent] = []
    if echo.showsItems {
      events += settleMessage(asFinal: false) + closeReasoning()
      events += writer.item(extensionItem(item))
    }
    guard echo.showsWork, let note = WorkNarration.note(item), !writer.isHeld(messageID(item.ordinal)) else {
      let isOver = reasoning == item.ordinal || tellsOfWork && runningWork.isEmpty
      return events + (isOver ? closeReasoning() : [])
    }
    guard echo.isCodex else { return events + summarised(note, item.ordinal) }
    events += settleMessage(asFinal: false) + closeReasoning()
    events += writer.openMessage(messageID(item.ordinal), phase: "commentary") + writer.addText(note)
    return events + writer.closeMessage(phase: "commentary")
  }

  /// What came of work, as a part of a summary: beside other work that runs, of the item that tells of that.
  private mutating func summarised(_ note: String, _ ordinal: Int) -> [ResponsesEvent] {
    var events = settleMessage(asFinal: false)
    if !tellsOfWork { events += openWork(ordinal) }
    events += writer.openPart() + writer.addSummary(note)
    return events + (runningWork.isEmpty ? closeReasoning() : [])
  }

  /// The structured item, as `X-Centaur-Items: full` asks for it. The specification knows no item that failed: it is
  /// complete, and says so in a member of its own.
  private func extensionItem(_ item: Item) -> JSONValue {
    var object = item.json.object ?? JSONObject()
    object["type"] = .string("centaur:\(item.typeName)")
    object["id"] = .string("item_\(execution)_\(item.ordinal)")
    if item.status == .failed {
      object["status"] = "completed"
      object["has_failed"] = true
    }
    return .object(object)
  }

  private mutating func drainDeferred() -> [ResponsesEvent] {
    var events: [ResponsesEvent] = []
    let waiting = deferred
    deferred = []
    for payload in waiting {
      switch payload {
      case .itemStarted(let item): events += whenFree(payload) { $0.started(item) }
      case .itemDelta(let delta): events += piece(delta)
      case .itemCompleted(let item): events += completed(item, payload)
      default: break
      }
    }
    return events
  }

  /// Ends the message whose end waits.
  /// - Parameter isLast: nothing follows it
  private mutating func settleMessage(asFinal: Bool, isLast: Bool = false) -> [ResponsesEvent] {
    guard let waiting = message else { return [] }
    message = nil
    let phase = waiting.phase ?? (asFinal ? .final : .commentary)
    let end = phase == .final || isLast || echo.isCodex ? "" : "\n\n"
    return writer.closeMessage(
      phase: phase.wireName, status: waiting.closed?.status ?? "incomplete", text: waiting.closed?.text, end: end)
  }

  private mutating func closeReasoning() -> [ResponsesEvent] {
    guard reasoning != nil else { return [] }
    (reasoning, tellsOfWork) = (nil, false)
    return writer.closeReasoning()
  }

  // MARK: The end

  private mutating func finish(_ outcome: Outcome, _ usage: TurnUsage, at time: Timestamp) -> [ResponsesEvent] {
    let isCompleted = outcome == .completed
    var events: [ResponsesEvent] = []
    // What still waits for a message that was never closed is shown before the end.
    if let open = message, open.closed == nil {
      events += settleMessage(asFinal: false, isLast: deferred.isEmpty) + drainDeferred()
    }
    events += settleMessage(asFinal: isCompleted, isLast: true) + closeReasoning()
    self.outcome = outcome
    let shown = (usage.modelCalls > 0 ? usage : self.usage).since(usageBefore)
    let type: String
    switch outcome {
    case .calls(let calls):
      for call in calls { events += writer.functionCall(call) }
      type = "response.completed"
      response = object.json(status: "completed", output: writer.output, completedAt: time, usage: shown)
    case .completed:
      type = "response.completed"
      response = object.json(status: "completed", output: writer.output, completedAt: time, usage: shown)
    case .failed(let failure):
      type = "response.failed"
      let code = ResponsesError.wireCode(failure.code, isCodex: echo.isCodex)
      response = object.json(
        status: "failed", output: writer.output, error: (code, failure.message), usage: shown)
    case .cancelled(let reason):
      // Nobody who waits for an answer gets one: to Codex a sentence, to others a response that is cut short.
      if echo.isCodex {
        type = "response.failed"
        response = object.json(
          status: "failed", output: writer.output,
          error: ("invalid_prompt", "The turn was interrupted (\(reason))."), usage: shown)
      } else {
        type = "response.incomplete"
        response = object.json(
          status: "incomplete", output: writer.output, incompleteReason: reason, usage: shown)
      }
    }
    return events + [writer.event(type, [("response", response)])]
  }
}

extension MessageItem.Phase {
  init?(wireName: String?) {
    switch wireName {
    case "commentary": self = .commentary
    case "final_answer": self = .final
    default: return nil
    }
  }

  /// As this API writes it.
  var wireName: String {
    switch self {
    case .commentary: "commentary"
    case .final: "final_answer"
    }
  }
}
