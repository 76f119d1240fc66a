import Crypto
import SessionModel

/// What the user said in a request, and nothing that the client added by itself.
struct TurnInput: Sendable {
  /// The pieces, in order; those of Claude Code have ids by which a repeated request is known.
  var messages: [Message] = []
  /// What the client's tools said.
  var outputs: [ToolOutput] = []
  /// The client says that its user interrupted the turn before.
  var isAbort = false
  /// The client wants an answer that it knows of told on: it says nothing new.
  var continues = false
  /// Nothing but what the user ran in their own shell.
  var isShellOnly = false
  /// Which conversation of Claude Code this is; another one after each compaction, when its messages are counted anew.
  var conversation: String?
  /// How many messages of it come before.
  var messagesBefore: Int?
  /// Where in `messages` of the body the input begins; before it is history.
  var start = 0
  /// Texts of the answer that is to be told on, as the client kept them.
  var heldTexts: [String] = []
  /// The user says again what they said before the answer in `heldTexts`: the TUI asks them to where a connection broke
  /// behind a finished block. Whether that answer was whole is the session's to know.
  var isResent = false

  /// An SDK's rule: its last messages of the role user, and what its tools said in them; what came before is history.
  /// - Throws: `CentaurError` with `unknownCall` where all that is new are results of calls that are not ours, or where
  ///   one of them stands beside a result of ours
  static func ofSDK(_ messages: [JSONValue]) throws(CentaurError) -> TurnInput {
    var reading = TurnInput()
    reading.start = runStart(messages)
    var parts: [Message.Part] = []
    var foreign: [(part: Message.Part, error: CentaurError)] = []
    for index in reading.start..<messages.count where messages[index]["role"]?.string == "user" {
      for (number, block) in ContentBlock.blocks(messages[index]).enumerated() {
        let path = "messages[\(index)].content[\(number)]"
        if block["type"]?.string == "tool_result" {
          if let output = try ToolResult.read(block, path: path) {
            reading.outputs.append(output)
          } else {
            foreign.append(ToolResult.foreign(block, path: path))
          }
        } else if let part = try ContentBlock.part(block, path: path) {
          parts.append(part)
        }
      }
    }
    if let first = foreign.first {
      // Beside a result of ours: one message asked for them all.
      if parts.isEmpty || !reading.outputs.isEmpty { throw first.error }
      parts = foreign.map(\.part) + parts
    }
    if !parts.isEmpty { reading.messages = [Message(parts: parts)] }
    return reading
  }

  /// Claude Code's rule (wire/claude-client.md §1): the blocks behind the last answer, without what the client says by
  /// itself. Which of them were taken before is the session's to know: by an id that stands for the client's session,
  /// the place in the conversation, and all blocks up to this one.
  static func ofClaudeCode(_ messages: [JSONValue], clientSession: String) throws(CentaurError) -> TurnInput {
    var reading = TurnInput()
    reading.start = runStart(messages)
    let before = messages[..<reading.start].count { $0["role"]?.string != "system" }
    var run = Run()
    for index in reading.start..<messages.count where messages[index]["role"]?.string == "user" {
      for (number, block) in ContentBlock.blocks(messages[index]).enumerated() {
        run.add(block, path: "messages[\(index)].content[\(number)]")
      }
    }
    reading.isAbort = run.isAbort
    let summary = messages.lazy.flatMap(ContentBlock.blocks).last(where: ClaudeContext.isCompaction)
    reading.conversation = digest(clientSession, summary)
    reading.messagesBefore = before
    if run.said.last.map({ ClaudeContext.isNudge($0.block) }) ?? run.hasToolResults {
      reading.continues = true
      reading.heldTexts = heldTexts(messages[..<reading.start])
      return reading
    }
    if let nudge = run.said.lastIndex(where: { ClaudeContext.isNudge($0.block) }) { run.said.removeFirst(nudge + 1) }
    reading.isShellOnly = !run.said.isEmpty && run.said.allSatisfy { ClaudeContext.isShell($0.block) }
    var place = Place(clientSession: clientSession, before: before, compaction: run.compaction)
    for (block, path) in run.said {
      guard let part = try ContentBlock.part(block, path: path) else { continue }
      reading.messages.append(Message(parts: [part], clientID: place.id(after: block)))
    }
    if !run.isAbort, !run.hasToolResults, !run.said.isEmpty,
      said(before: reading.start, in: messages) == run.said.map({ plain($0.block) })
    {
      reading.heldTexts = heldTexts(messages[..<reading.start])
      reading.isResent = !reading.heldTexts.isEmpty
    }
    if !reading.messages.isEmpty {
      reading.messages[0].parts.insert(contentsOf: shellBefore(messages[..<reading.start]), at: 0)
    }
    return reading
  }

  /// The blocks of the messages behind the last answer.
  private struct Run {
    /// What may be the user's, with its place in the body.
    var said: [(block: JSONValue, path: String)] = []
    var isAbort = false
    /// The client's summary of what came before, where it stands among these.
    var compaction: JSONValue?
    var hasToolResults = false
    private var hasImages = false
    private var previous: JSONValue?

    mutating func add(_ block: JSONValue, path: String) {
      if block["type"]?.string == "tool_result" {
        hasToolResults = true
        return
      }
      if hasImages, ClaudeContext.isImageSource(block) { return }
      defer { previous = block }
      if block["type"]?.string == "image" { hasImages = true }
      if ClaudeContext.isCompaction(block) { compaction = block }
      if ClaudeContext.isInterruption(block) { isAbort = true }
      if ClaudeContext.isContext(block) || ClaudeContext.isContextReport(block, after: previous) { return }
      said.append((block, path))
    }
  }

  private static func digest(_ clientSession: String, _ compaction: JSONValue?) -> String {
    var digest = SHA256()
    digest.update(data: Array("\(clientSession)\n\(compaction.map(ContentBlock.text) ?? "")".utf8))
    return digest.finalize().prefix(16).hexadecimal
  }

  /// Names blocks by where they stand. After a compaction the client counts anew: each summary begins places of its own.
  private struct Place {
    private var digest = SHA256()
    private let before: Int

    init(clientSession: String, before: Int, compaction: JSONValue?) {
      self.before = before
      digest.update(data: Array("\(clientSession)\n\(before)\n\(compaction != nil)\n".utf8))
      if let compaction { digest.update(data: Array(ContentBlock.text(compaction).utf8)) }
    }

    mutating func id(after block: JSONValue) -> String {
      digest.update(data: TurnInput.plain(block).serialized)
      return "claude:\(before):" + digest.finalize().prefix(16).hexadecimal
    }
  }

  /// A block as it is the same whenever the client sends it.
  fileprivate static func plain(_ block: JSONValue) -> JSONValue {
    var said = block.object ?? JSONObject()
    // The client puts and takes these marks as it likes.
    said["cache_control"] = nil
    if ContentBlock.isText(block) { said["text"] = .string(ContentBlock.text(block)) }
    return .object(said)
  }

  /// What the user said before the last answer, where that is all text.
  private static func said(before start: Int, in messages: [JSONValue]) -> [JSONValue] {
    let answer = messages[..<start].lastIndex { $0["role"]?.string == "user" } ?? -1
    guard answer >= 0, messages[(answer + 1)..<start].flatMap(ContentBlock.blocks).allSatisfy({ !isCall($0) }) else {
      return []
    }
    let first = (messages[..<answer].lastIndex { $0["role"]?.string == "assistant" }).map { $0 + 1 } ?? 0
    var run = Run()
    for message in messages[first...answer] where message["role"]?.string == "user" {
      for block in ContentBlock.blocks(message) { run.add(block, path: "messages") }
    }
    return run.isAbort || run.hasToolResults ? [] : run.said.map { plain($0.block) }
  }

  private static func isCall(_ block: JSONValue) -> Bool { block["type"]?.string == "tool_use" }

  /// Where the messages behind the last answer begin.
  private static func runStart(_ messages: [JSONValue]) -> Int {
    (messages.lastIndex { $0["role"]?.string == "assistant" }).map { $0 + 1 } ?? 0
  }

  /// The texts of an answer that the client got in pieces: those since its user last said something.
  private static func heldTexts(_ earlier: ArraySlice<JSONValue>) -> [String] {
    var texts: [String] = []
    for message in earlier.reversed() {
      switch message["role"]?.string {
      case "assistant":
        texts = ContentBlock.blocks(message).filter(ContentBlock.isText).compactMap { $0["text"]?.string } + texts
      case "user":
        let isOnlyNudges = ContentBlock.blocks(message).allSatisfy {
          ClaudeContext.isNudge($0) || ClaudeContext.isContext($0) || $0["type"]?.string == "tool_result"
        }
        if !isOnlyNudges { return texts }
      default: continue
      }
    }
    return texts
  }

  /// What the user ran in their own shell since the last answer of an agent: it was noted, and belongs to what they say
  /// next.
  private static func shellBefore(_ earlier: ArraySlice<JSONValue>) -> [Message.Part] {
    var parts: [Message.Part] = []
    for message in earlier.reversed() {
      switch message["role"]?.string {
      case "assistant":
        guard ContentBlock.allText(message["content"]) == SideAnswer.noted else { return parts }
      case "user":
        let said = ContentBlock.blocks(message).filter { !ClaudeContext.isContext($0) }
        guard said.allSatisfy(ClaudeContext.isShell) else { return parts }
        parts = said.map { .text(ContentBlock.text($0)) } + parts
      default: continue
      }
    }
    return parts
  }
}
