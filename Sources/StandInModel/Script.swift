import SessionModel

/// What a scripted model is to do, read from the user's text.
///
/// `[[{"steps":[…]}]]`: one step for each model call since that text. Without a script: `Reply PONG` answers PONG,
/// `run echo hi` runs it and answers with its output, and anything else is answered with a sentence that says that a
/// scripted model speaks. Texts may contain `{{out}}` (the newest tool output), `{{stdout}}` (the same without the
/// harness's frame), `{{history}}` (how many user messages there are), `{{first}}` (the first of them) and
/// `{{instructions}}`.
struct Script: Sendable {
  let steps: [JSONValue]

  init(_ text: String) {
    if let inner = Self.between("[[", "]]", text) {
      if let value = try? JSONValue(parsing: inner.utf8), let steps = value["steps"]?.array {
        self.steps = steps
      } else {
        steps = [["text": "The script between [[ and ]] is not JSON with a list of steps."]]
      }
    } else if let rest = Self.order("Reply ", text) {
      // Clients end a text that stands behind an image with a newline.
      steps = [["text": .string(String(rest.reversed().drop(while: \.isNewline).reversed()))]]
    } else if let rest = Self.order("run ", text) {
      steps = [["shell": .string(String(rest))], ["text": "{{stdout}}"]]
    } else {
      steps = [["text": .string(Self.introduction), "raw": true]]
    }
  }

  static let introduction = """
    This is Centaur's stand-in model: a script, not an intelligence. It follows "Reply PONG", "run echo hi" and scripts \
    such as [[{"steps":[{"shell":"ls"},{"text":"{{out}}"}]}]]; whatever else is said gets this answer.
    """

  /// What follows a word at the text's beginning, or at that of its last line: other messages may stand before it.
  private static func order(_ word: String, _ text: String) -> Substring? {
    if text.hasPrefix(word) { return text.dropFirst(word.count) }
    guard let line = text.split(separator: "\n").last, line.hasPrefix(word) else { return nil }
    return line.dropFirst(word.count)
  }

  private static func between(_ open: String, _ close: String, _ text: String) -> Substring? {
    guard let start = text.firstRange(of: "\(open){")?.lowerBound, let end = text.ranges(of: close).last?.lowerBound
    else { return nil }
    let inner = text.index(start, offsetBy: open.count)
    return inner < end ? text[inner..<end] : nil
  }
}

/// What the model says in one call.
struct Utterance: Sendable, Hashable {
  enum Part: Sendable, Hashable {
    case reasoning(String)
    case text(String, phase: String?)
    case call(name: String, arguments: JSONValue)
    /// A tool whose input is text, not JSON.
    case textCall(name: String, input: String)
  }

  /// An HTTP status in the place of an answer.
  struct Refusal: Sendable, Hashable {
    var status: Int
    var type: String
    var code: String?
    var message: String
  }

  var parts: [Part] = []
  /// In how many pieces texts are streamed, and how long each takes.
  var chunks = 1
  var delay: Duration = .zero
  var usage = Usage()
  /// Silence before the first part.
  var hang: Duration?
  /// The connection is cut in the middle of the answer.
  var drops = false
  var refusal: Refusal?
  /// The answer begins and then fails, with this code.
  var failure: (code: String, message: String)?

  static func == (left: Utterance, right: Utterance) -> Bool {
    left.parts == right.parts && left.refusal == right.refusal && left.failure?.code == right.failure?.code
      && left.drops == right.drops && left.usage == right.usage
  }

  func hash(into hasher: inout Hasher) { hasher.combine(parts) }
}

extension Script {
  /// The utterance of a call, and the index of the step that it comes from.
  /// - Parameter refused: how many times the step at this index has refused before (`{"error":429,"times":1}`).
  func utterance(_ request: ModelRequest, refused: (Int) -> Int) -> (utterance: Utterance, step: Int) {
    // A command is over when its process is, not when Codex has waited long enough.
    if let command = request.runningCommand {
      let arguments: JSONValue = ["session_id": .int(Int64(command)), "chars": "", "yield_time_ms": 5000]
      let utterance = Utterance(parts: [.call(name: ModelRequest.poll, arguments: arguments)])
      return (finished(utterance, .null, request), max(0, request.step - 1))
    }
    let index = self.index(of: request.step, refused)
    guard index < steps.count else {
      return (finished(Utterance(parts: [.text("(the script has no more steps)", phase: nil)]), .null, request), index)
    }
    let step = steps[index]
    var utterance = Utterance()
    if let error = step["error"], refused(index) < Self.times(step) {
      guard let status = error.int, (400...599).contains(status) else {
        let text = "The script's error is to be an HTTP status from 400 to 599, not \(error.text)."
        return (finished(Utterance(parts: [.text(text, phase: nil)]), .null, request), index)
      }
      utterance.refusal = Self.refusal(status, step)
      return (utterance, index)
    }
    utterance.parts = Self.parts(step, request)
    utterance.chunks = max(1, step["chunks"]?.int ?? 1)
    utterance.delay = Self.duration(step["delay"]) ?? .zero
    utterance.hang = Self.duration(step["hang"])
    utterance.drops = step["drop"]?.bool ?? false
    if let code = step["fail"]?.string {
      utterance.failure = (code, step["emsg"]?.string ?? "The scripted model fails as it was told: \(code).")
    }
    return (finished(utterance, step, request), index)
  }

  /// The step of a call before which the model has spoken so many times. A step that only refuses is not among those
  /// times, as no conversation tells of it; it is over once it has refused as often as it should.
  private func index(of spoken: Int, _ refused: (Int) -> Int) -> Int {
    var left = spoken
    for (index, step) in steps.enumerated() {
      if step["error"] != nil, !Self.speaks(step) {
        if left == 0, refused(index) < Self.times(step) { return index }
      } else if left == 0 {
        return index
      } else {
        left -= 1
      }
    }
    return steps.count
  }

  private static func times(_ step: JSONValue) -> Int { step["times"]?.int ?? .max }

  /// Seconds, an hour at most: a script comes from anybody, and one that is absurd must not end the program.
  private static func duration(_ seconds: JSONValue?) -> Duration? {
    seconds?.double.map { .milliseconds(Int64(min(max($0, 0), 3600) * 1000)) }
  }

  private static func speaks(_ step: JSONValue) -> Bool {
    ["text", "shell", "reason", "patch", "tool", "calls", "fail"].contains { step[$0] != nil }
  }

  private static func refusal(_ status: Int, _ step: JSONValue) -> Utterance.Refusal {
    let (type, code): (String, String?) =
      switch status {
      case 401, 403: ("authentication_error", "invalid_api_key")
      case 429: ("rate_limit_error", "rate_limit_exceeded")
      case 400..<500: ("invalid_request_error", nil)
      default: ("server_error", nil)
      }
    return Utterance.Refusal(
      status: status, type: step["etype"]?.string ?? type, code: step["ecode"]?.string ?? code,
      message: step["emsg"]?.string ?? "The scripted model refuses with \(status), as it was told.")
  }

  private static func parts(_ step: JSONValue, _ request: ModelRequest) -> [Utterance.Part] {
    var parts: [Utterance.Part] = []
    if let text = step["reason"]?.string { parts.append(.reasoning(fill(text, request))) }
    if let text = step["pre_text"]?.string {
      parts.append(.text(fill(text, request), phase: step["pre_phase"]?.string))
    }
    let extra = step["extra"]?.object ?? JSONObject()
    if let command = step["shell"]?.string { parts.append(shell(fill(command, request), extra, request)) }
    if let patch = step["patch"]?.string { parts.append(self.patch(patch, request)) }
    for call in [step] + (step["calls"]?.array ?? []) {
      guard let name = call["tool"]?.string else { continue }
      parts.append(
        .call(name: request.offeredName(of: name), arguments: call["args"] ?? .object(JSONObject())))
    }
    if let text = step["text"]?.string {
      let isRaw = step["raw"]?.bool ?? false
      parts.append(answer(isRaw ? text : fill(text, request), step, request))
    }
    return parts
  }

  private static let answerTool = "StructuredOutput"

  /// A text; JSON by the tool that Claude Code has for it, where it asks for such an answer.
  private static func answer(_ text: String, _ step: JSONValue, _ request: ModelRequest) -> Utterance.Part {
    guard request.tools.contains(answerTool), let object = try? JSONValue(parsing: text.utf8), object.object != nil
    else {
      return .text(text, phase: step["phase"]?.string)
    }
    return .call(name: answerTool, arguments: object)
  }

  private static func shell(_ command: String, _ extra: JSONObject, _ request: ModelRequest) -> Utterance.Part {
    let name: String
    var arguments: JSONObject
    if request.isMessages {
      (name, arguments) = ("Bash", JSONObject([("command", .string(command)), ("description", "as scripted")]))
    } else if request.tools.contains("shell"), !request.tools.contains("exec_command") {
      (name, arguments) = ("shell", JSONObject([("command", .array(["bash", "-lc", .string(command)]))]))
    } else {
      (name, arguments) = ("exec_command", JSONObject([("cmd", .string(command))]))
    }
    for member in extra.members { arguments[member.key] = member.value }
    return .call(name: name, arguments: .object(arguments))
  }

  /// Claude Code has no tool for patches: there the added files are written by a command.
  private static func patch(_ patch: String, _ request: ModelRequest) -> Utterance.Part {
    guard request.isMessages else { return .textCall(name: "apply_patch", input: patch) }
    var command = ""
    for line in patch.split(separator: "\n", omittingEmptySubsequences: false) {
      if line.hasPrefix("*** Add File: ") {
        command += (command.isEmpty ? "" : "CENTAUR_END\n") + "cat > '\(line.dropFirst(14))' <<'CENTAUR_END'\n"
      } else if line.hasPrefix("+") {
        command += line.dropFirst() + "\n"
      }
    }
    return .call(
      name: "Bash", arguments: ["command": .string(command + "CENTAUR_END\n"), "description": "as scripted"])
  }

  static func fill(_ text: String, _ request: ModelRequest) -> String {
    guard text.contains("{{") else { return text }
    return text.replacing("{{out}}", with: request.output).replacing("{{stdout}}", with: stdout(request))
      .replacing("{{history}}", with: String(request.userTexts.count))
      .replacing("{{first}}", with: request.userTexts.first ?? "")
      .replacing("{{instructions}}", with: request.instructions.joined(separator: "\n"))
  }

  /// A command's output alone: without the head that Codex puts before it, and without the newline at its end.
  private static func stdout(_ request: ModelRequest) -> String {
    let text = (request.earlierOutputs + [request.output]).map { output in
      output.firstRange(of: "Output:\n").map { output[$0.upperBound...] } ?? output[...]
    }.joined()
    return String(text.reversed().drop { $0.isNewline }.reversed())
  }

  private func finished(_ utterance: Utterance, _ step: JSONValue, _ request: ModelRequest) -> Utterance {
    var utterance = utterance
    let said = utterance.parts.reduce(0) { sum, part in
      switch part {
      case .reasoning(let text), .text(let text, _), .textCall(_, let text): sum + text.utf8.count
      case .call(_, let arguments): sum + arguments.text.utf8.count
      }
    }
    let usage = step["usage"] ?? .null
    func number(_ names: String..., otherwise: Int) -> Int {
      min(max(0, names.lazy.compactMap { usage[$0]?.int }.first ?? otherwise), 1_000_000_000_000)
    }
    utterance.usage = Usage(
      input: number("in", "input_tokens", otherwise: max(1, request.inputTokens)),
      cachedInput: number("cached", "cached_tokens", otherwise: 0),
      cacheWrite: number("cache_write", "cache_write_tokens", otherwise: 0),
      output: number("out", "output_tokens", otherwise: said / 4 + 1),
      reasoning: number("reasoning", "reasoning_tokens", otherwise: 0))
    return utterance
  }

  /// A text in so many pieces of about the same length.
  static func pieces(_ text: String, _ count: Int) -> [String] {
    guard count > 1, text.count > 1 else { return [text] }
    let characters = Array(text)
    let pieces = min(count, characters.count)
    return (0..<pieces).map { index in
      String(characters[(index * characters.count / pieces)..<((index + 1) * characters.count / pieces)])
    }
  }
}
