import SessionModel

/// What the model says, piece by piece (`stream_event`) and block by block (`assistant`).
extension ClaudeMachine {
  // MARK: Pieces

  mutating func streamed(_ event: JSONValue, _ line: JSONValue) -> [HarnessAction] {
    switch event["type"]?.string {
    case "message_start":
      let before = closeMessage()
      let message = event["message"] ?? .null
      turn?.message = ModelMessage(
        id: message["id"]?.string ?? "", usage: ClaudeUsage.read(message["usage"] ?? .null))
      return before
    case "content_block_start":
      turn?.message?.block = event["index"]?.int ?? 0
      return settleText(as: event["content_block"]?["type"]?.string == "tool_use" ? .commentary : nil)
    case "content_block_delta": return piece(event["delta"] ?? .null)
    case "message_delta":
      if let usage = event["usage"], let earlier = turn?.message?.usage {
        turn?.message?.usage = ClaudeUsage.read(usage, over: earlier)
      }
      return settleText(as: Self.phase(event["delta"]?["stop_reason"]?.string))
    case "message_stop":
      let isCutOff = line["abandoned_blocks"] != nil
      turn?.isCutOff = isCutOff
      return closeMessage()
    default: return []
    }
  }

  private mutating func piece(_ delta: JSONValue) -> [HarnessAction] {
    guard let key = turn?.message?.blockKey else { return [] }
    switch delta["type"]?.string {
    case "text_delta": return piece(delta["text"]?.string ?? "", .text, of: key, .message(MessageItem()))
    case "thinking_delta":
      return piece(delta["thinking"]?.string ?? "", .summary(0), of: key, .reasoning(ReasoningItem()))
    default: return []
    }
  }

  /// A block that stays empty is no item.
  private mutating func piece(
    _ text: String, _ field: ItemDelta.Field, of key: String, _ content: Item.Content
  ) -> [HarnessAction] {
    guard !text.isEmpty, turn != nil else { return [] }
    let start = turn?.items.isOpen(key) == true ? [] : turn?.items.start(key, content) ?? []
    return start + (turn?.items.delta(key, field, text) ?? [])
  }

  /// The end of a streamed answer, or of as much as came of it.
  mutating func closeMessage() -> [HarnessAction] {
    guard let message = turn?.message else { return [] }
    turn?.message = nil
    return settleText(as: nil) + (turn?.items.closeAll { $0.isModelText } ?? []) + count(message.usage)
  }

  // MARK: Blocks

  mutating func said(_ line: JSONValue) -> [HarnessAction] {
    let message = line["message"] ?? .null
    guard line["is_api_error_message"]?.bool != true else {
      // What the harness puts in the place of an answer that could not be had: the turn's end says it.
      turn?.apiError = line["error"]?.string
      return []
    }
    let id = message["id"]?.string ?? ""
    let isStreamed = turn?.message?.id == id
    var actions: [HarnessAction] = []
    if !isStreamed, message["model"]?.string != "<synthetic>", turn?.countedMessages.insert(id).inserted == true {
      // Asked for once more without streaming, after a stream that broke off.
      turn?.isCutOff = false
      actions += count(ClaudeUsage.read(message["usage"] ?? .null))
    }
    for block in message["content"]?.array ?? [] {
      let key = isStreamed ? turn?.message?.blockKey ?? "" : unstreamedKey()
      switch block["type"]?.string {
      case "text": actions += text(block["text"]?.string ?? "", key, line, isStreamed: isStreamed)
      case "thinking":
        let thought = block["thinking"]?.string ?? ""
        guard !thought.isEmpty else { continue }
        actions += turn?.items.complete(key, .reasoning(ReasoningItem(summary: [thought])), .completed) ?? []
      case "redacted_thinking": continue
      case "tool_use" where answerSchema != nil && block["name"]?.string == ClaudeTools.answer:
        // The turn's end has it, once it is valid.
        actions += settleText(as: .commentary)
      case "tool_use": actions += settleText(as: .commentary) + toolStarted(block, line)
      case let type:
        actions += turn?.items.complete(key, .other(OtherItem(type: type ?? "", raw: block)), .completed) ?? []
      }
    }
    return actions
  }

  private mutating func unstreamedKey() -> String {
    turn?.unstreamedBlocks += 1
    return "unstreamed/\(turn?.unstreamedBlocks ?? 0)"
  }

  private mutating func text(
    _ text: String, _ key: String, _ line: JSONValue, isStreamed: Bool
  ) -> [HarnessAction] {
    guard !text.isEmpty else { return [] }
    if line["aborted"]?.bool == true {
      return turn?.items.complete(key, .message(MessageItem(text: text)), .incomplete) ?? []
    }
    let before = settleText(as: nil)
    turn?.wholeText = WholeText(key: key, text: text)
    return before + (isStreamed ? [] : settleText(as: Self.phase(line["message"]?["stop_reason"]?.string)))
  }

  /// Closes a text that was waiting for what follows it.
  mutating func settleText(as phase: MessageItem.Phase?) -> [HarnessAction] {
    guard let whole = turn?.wholeText else { return [] }
    turn?.wholeText = nil
    return turn?.items.complete(whole.key, .message(MessageItem(phase: phase, text: whole.text)), .completed) ?? []
  }

  /// What a text is, by why the model stopped after it.
  private static func phase(_ stopReason: String?) -> MessageItem.Phase? {
    switch stopReason {
    case "end_turn", "stop_sequence", "refusal": .final
    case "tool_use": .commentary
    default: nil
    }
  }

  // MARK: Tokens

  /// One model call of the conversation itself.
  mutating func count(_ call: Usage) -> [HarnessAction] {
    turn?.usage.add(call)
    return turn.map { [$0.items.emit(.usageUpdated(call: call, turn: $0.usage))] } ?? []
  }

  /// A model call beside the conversation: part of the bill, but not of the conversation's size.
  mutating func countBeside(_ call: Usage) -> [HarnessAction] {
    guard var usage = turn?.usage else { return [] }
    usage.sum = usage.sum + call
    usage.modelCalls += 1
    turn?.usage = usage
    return turn.map { [$0.items.emit(.usageUpdated(call: call, turn: usage))] } ?? []
  }
}

/// Tokens as Anthropic's API counts them: what was read from the cache and written to it is not in `input_tokens`.
enum ClaudeUsage {
  /// - Parameter earlier: what an earlier event of the same answer said; a later one names what has changed.
  static func read(_ usage: JSONValue, over earlier: Usage = Usage()) -> Usage {
    var (input, cached, written) = (earlier.input, earlier.cachedInput, earlier.cacheWrite)
    if let fresh = usage["input_tokens"]?.int {
      cached = Usage.bounded(usage["cache_read_input_tokens"]?.int ?? 0)
      written = Usage.bounded(usage["cache_creation_input_tokens"]?.int ?? 0)
      input = Usage.bounded(fresh) + cached + written
    }
    return Usage(
      input: input, cachedInput: cached, cacheWrite: written, output: usage["output_tokens"]?.int ?? earlier.output,
      reasoning: usage["output_tokens_details"]?["thinking_tokens"]?.int ?? earlier.reasoning)
  }

  /// The sum over the models of a `result`.
  static func sum(_ models: JSONValue?) -> Usage {
    (models?.object?.members.map { $0.value } ?? []).reduce(Usage()) { sum, model in
      let cached = Usage.bounded(model["cacheReadInputTokens"]?.int ?? 0)
      let written = Usage.bounded(model["cacheCreationInputTokens"]?.int ?? 0)
      return sum
        + Usage(
          input: Usage.bounded(model["inputTokens"]?.int ?? 0) + cached + written, cachedInput: cached,
          cacheWrite: written, output: model["outputTokens"]?.int ?? 0, reasoning: model["thinkingTokens"]?.int ?? 0)
    }
  }
}
