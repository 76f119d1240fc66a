/// One thing that the agent did or said in a turn, in the vocabulary that every harness adapter speaks.
public struct Item: Sendable, Hashable {
  /// The item's ordinal in its execution, from 1. Wire ids are derived from it (`msg_<execution>_<ordinal>`).
  public var ordinal: Int
  public var status: Status
  public var content: Content

  public init(ordinal: Int, status: Status, content: Content) {
    self.ordinal = ordinal
    self.status = status
    self.content = content
  }

  public enum Status: String, Sendable, Hashable {
    case inProgress = "in_progress"
    case completed
    case failed
    /// Never closed by the harness (an interrupt, a cut stream): closed by us.
    case incomplete
  }

  public enum Content: Sendable, Hashable {
    case message(MessageItem)
    case reasoning(ReasoningItem)
    case command(CommandItem)
    case fileChange(FileChangeItem)
    case toolCall(ToolCallItem)
    case plan(PlanItem)
    case webSearch(WebSearchItem)
    case compaction
    /// A kind that the vocabulary does not have: kept whole, shown as text, never dropped.
    case other(OtherItem)
  }
}

extension Item.Content {
  /// The agent uses a tool of its own, or one that its harness was given: not one of its client's.
  public var isToolCall: Bool {
    switch self {
    case .command, .fileChange, .webSearch: true
    case .toolCall(let call): call.origin != .client
    case .message, .reasoning, .plan, .compaction, .other: false
    }
  }
}

public struct MessageItem: Sendable, Hashable {
  public enum Phase: String, Sendable, Hashable {
    case commentary
    case final
  }
  /// Nil where the harness has not said; a reader takes the turn's last message as final.
  public var phase: Phase?
  public var text: String
  public init(phase: Phase? = nil, text: String = "") {
    self.phase = phase
    self.text = text
  }
}

public struct ReasoningItem: Sendable, Hashable {
  /// Summary parts, in order.
  public var summary: [String]
  /// The raw reasoning, where the provider shows it.
  public var text: String
  public init(summary: [String] = [], text: String = "") {
    self.summary = summary
    self.text = text
  }
}

public struct CommandItem: Sendable, Hashable {
  /// What the agent ran, without the shell that the harness wraps around it.
  public var command: String
  public var cwd: String?
  /// Standard output and error as they came; the completed item has all of it.
  public var output: String
  public var exitCode: Int?
  public var duration: Duration?
  public init(command: String, cwd: String? = nil, output: String = "", exitCode: Int? = nil, duration: Duration? = nil)
  {
    self.command = command
    self.cwd = cwd
    self.output = output
    self.exitCode = exitCode
    self.duration = duration
  }
}

public struct FileChangeItem: Sendable, Hashable {
  public struct Change: Sendable, Hashable {
    public enum Kind: String, Sendable, Hashable {
      case add
      case update
      case delete
    }
    public var path: String
    public var kind: Kind
    /// Where the file went, if it was moved.
    public var movedTo: String?
    /// A unified diff for an update, the content for an added file; empty where the harness gives none.
    public var diff: String
    public init(path: String, kind: Kind, movedTo: String? = nil, diff: String = "") {
      self.path = path
      self.kind = kind
      self.movedTo = movedTo
      self.diff = diff
    }
  }
  public var changes: [Change]
  public init(changes: [Change]) { self.changes = changes }
}

public struct ToolCallItem: Sendable, Hashable {
  public enum Origin: String, Sendable, Hashable {
    case harness
    case mcp
    case client
  }
  public var name: String
  public var arguments: JSONValue
  public var result: JSONValue?
  public var origin: Origin
  /// - Parameter result: null is none, as in the log.
  public init(name: String, arguments: JSONValue, result: JSONValue? = nil, origin: Origin) {
    self.name = name
    self.arguments = arguments
    self.result = result == .null ? nil : result
    self.origin = origin
  }
}

public struct PlanItem: Sendable, Hashable {
  public struct Step: Sendable, Hashable {
    public var text: String
    /// `pending`, `in_progress` or `completed`.
    public var status: String
    public init(text: String, status: String) {
      self.text = text
      self.status = status
    }
  }
  public var steps: [Step]
  /// Free text of a plan that is not a list of steps.
  public var text: String
  public init(steps: [Step], text: String = "") {
    self.steps = steps
    self.text = text
  }
}

public struct WebSearchItem: Sendable, Hashable {
  public var query: String
  public init(query: String) { self.query = query }
}

public struct OtherItem: Sendable, Hashable {
  /// The harness's own name for it.
  public var type: String
  public var raw: JSONValue
  public init(type: String, raw: JSONValue) {
    self.type = type
    self.raw = raw
  }
}

/// A piece of an item that is still open.
public struct ItemDelta: Sendable, Hashable {
  public enum Field: Sendable, Hashable {
    /// A message's text.
    case text
    /// A summary part of a reasoning item, from 0. The first delta of a part opens it.
    case summary(Int)
    case reasoningText
    /// A command's output.
    case output
  }
  /// The item's ordinal.
  public var ordinal: Int
  public var field: Field
  public var text: String
  public init(ordinal: Int, field: Field, text: String) {
    self.ordinal = ordinal
    self.field = field
    self.text = text
  }
}

extension Item {
  /// Adds a piece to an open item; a piece of a field that the item's kind does not have changes nothing.
  public mutating func append(_ delta: ItemDelta) {
    switch (content, delta.field) {
    case (.message(var message), .text):
      message.text += delta.text
      content = .message(message)
    case (.reasoning(var reasoning), .summary(let index)):
      while reasoning.summary.count <= index, reasoning.summary.count < 1024 { reasoning.summary.append("") }
      guard reasoning.summary.indices.contains(index) else { return }
      reasoning.summary[index] += delta.text
      content = .reasoning(reasoning)
    case (.reasoning(var reasoning), .reasoningText):
      reasoning.text += delta.text
      content = .reasoning(reasoning)
    case (.command(var command), .output):
      command.output += delta.text
      content = .command(command)
    default: break
    }
  }
}
