import SessionModel

/// What the user said in a request, and nothing that the client added by itself.
struct TurnInput: Sendable {
  /// Candidates, oldest first; the session knows which of them it has taken.
  var messages: [Message] = []
  /// The client says that its user interrupted the turn before.
  var isAbort = false
  /// Where in `input` what the user said begins; before it is history.
  var tailStart = 0
  /// Ids of output items that stand behind the user's last known input: a replay leaves them out.
  var heldItemIDs: [String] = []
  /// What the client's functions said.
  var outputs: [ToolOutput] = []
  /// Instructions in developer and system messages of an SDK.
  var instructions: [String] = []

  /// Codex's rule (wire/codex-client.md §1.4): the tail of user and developer messages, without context items.
  ///
  /// A steered or retried turn has items of ours inside it; the tail ends there, and what stands before was taken.
  static func ofCodex(_ input: [JSONValue]) throws(CentaurError) -> TurnInput {
    var reading = TurnInput()
    reading.tailStart = tailStart(input)
    for index in reading.tailStart..<input.count where InputItem.isMessage(input[index], ["user"]) {
      let item = input[index]
      if ClientContext.isAbort(item) { reading.isAbort = true }
      guard !ClientContext.isContext(item) else { continue }
      reading.messages.append(try InputItem.message(item, path: "input[\(index)]"))
    }
    // A person may type what looks like context; then it is the very last item.
    if reading.messages.isEmpty, let last = input.last, reading.tailStart < input.count,
      InputItem.isMessage(last, ["user"]), !ClientContext.isNeverTyped(last), isPrompt(last, after: input)
    {
      reading.messages.append(try InputItem.message(last, path: "input[\(input.count - 1)]"))
    }
    reading.heldItemIDs = heldItems(input)
    // After a drop behind a finished item, and after an answered turn, the tail is empty: the turn's own input is the
    // last that stands before our items.
    if reading.messages.isEmpty, let index = lastUserMessage(input) {
      reading.messages = [try InputItem.message(input[index], path: "input[\(index)]")]
      reading.tailStart = index
    }
    return reading
  }

  /// A context item has the uuid7 millisecond of the developer item before it; a prompt comes later.
  private static func isPrompt(_ last: JSONValue, after input: [JSONValue]) -> Bool {
    guard let id = last["id"]?.string, input.count > 1, let before = input[input.count - 2]["id"]?.string else {
      return false
    }
    return id.prefix(17) != before.prefix(17)
  }

  private static func tailStart(_ input: [JSONValue]) -> Int {
    var index = input.count
    while index > 0, InputItem.isMessage(input[index - 1], ["user", "developer", "system"]) { index -= 1 }
    return index
  }

  private static func lastUserMessage(_ input: [JSONValue]) -> Int? {
    input.indices.last { InputItem.isMessage(input[$0], ["user"]) && !ClientContext.isContext(input[$0]) }
  }

  /// Our items: those that are not the client's own kind of message, by their ids.
  /// The newest of them are enough: a turn has fewer, and a history has thousands.
  static func heldItems(_ input: [JSONValue]) -> [String] {
    input.suffix(512).compactMap { item in
      guard let id = item["id"]?.string, id.hasPrefix("msg_") || id.hasPrefix("rs_"),
        item["role"]?.string == "assistant" || item["type"]?.string == "reasoning"
      else { return nil }
      return id
    }
  }

  /// An SDK's rule: its last message of the role user and those directly before it, and the outputs of its functions
  /// beside them; what came before is history.
  /// - Throws: `CentaurError` with `unknownCall` where all that is new are outputs of calls that are not ours, or where
  ///   one of them stands beside an output of ours
  static func ofSDK(_ input: [JSONValue]) throws(CentaurError) -> TurnInput {
    var reading = TurnInput()
    for item in input where InputItem.isMessage(item, ["developer", "system"]) {
      let text = try InputItem.message(item, path: "input").text
      if !text.isEmpty { reading.instructions.append(text) }
    }
    reading.tailStart = tailStart(input)
    let outputs = try FunctionOutput.atEnd(of: input)
    if !outputs.answers.isEmpty {
      // One response asked for them all.
      if let foreign = outputs.foreign { throw foreign }
      reading.outputs = outputs.answers
      reading.tailStart = outputs.start
    } else if reading.tailStart == input.count, let foreign = outputs.foreign {
      throw foreign
    }
    for index in reading.tailStart..<input.count where InputItem.isMessage(input[index], ["user"]) {
      var message = try InputItem.message(input[index], path: "input[\(index)]")
      guard !message.parts.isEmpty else { continue }
      // An id of an SDK's user message may stand for anything: it is not unique over requests.
      message.clientID = nil
      reading.messages.append(message)
    }
    return reading
  }
}
