import Foundation
import SessionModel

/// What Claude Code 2.1.330 adds to the conversation by itself, in messages of the role `user`
/// (wire/claude-client.md §1; an oracle is wire/claude-client-rule.py).
enum ClaudeContext {
  private static let contexts = [
    "<system-reminder>", "<local-command-", "<command-name>", "<command-message>", compaction,
  ]
  private static let interruptions = [
    "[Request interrupted by user]", "[Request interrupted by user for tool use]",
  ]
  /// What the client says to a model whose answer it did not like, or did not get whole.
  private static let nudges = [
    "Output token limit hit. Resume directly", "Your response above was cut off mid-stream.",
    "[Your previous response had no visible output.", "The previous response failed to produce a valid tool call",
    "Your response above was stopped by a safety classifier", "Stop hook feedback:", "[structured-output-enforce]",
  ]
  private static let compaction = "This session is being continued from a previous conversation"
  private static let shell = ["<bash-input>", "<bash-stdout>", "<bash-stderr>"]

  /// A block that no person wrote.
  static func isContext(_ block: JSONValue) -> Bool {
    guard ContentBlock.isText(block) else { return false }
    let text = ContentBlock.text(block)
    return text.isEmpty || contexts.contains { text.hasPrefix($0) } || interruptions.contains(text)
  }

  static func isInterruption(_ block: JSONValue) -> Bool { interruptions.contains(ContentBlock.text(block)) }

  /// The conversation before was compacted by the client; its count of messages began anew.
  static func isCompaction(_ block: JSONValue) -> Bool { ContentBlock.text(block).hasPrefix(compaction) }

  static func isNudge(_ block: JSONValue) -> Bool {
    let text = ContentBlock.text(block)
    return nudges.contains { text.hasPrefix($0) }
  }

  /// What the user ran in their own shell (`!command`), and what came of it.
  static func isShell(_ block: JSONValue) -> Bool {
    let text = ContentBlock.text(block)
    return shell.contains { text.hasPrefix($0) }
  }

  /// A note behind images on where they came from; what the user said may stand between.
  static func isImageSource(_ block: JSONValue) -> Bool { ContentBlock.text(block).hasPrefix("[Image: source: ") }

  /// What `/context` printed: unlike other local commands' output it has no mark of its own.
  static func isContextReport(_ block: JSONValue, after previous: JSONValue?) -> Bool {
    guard let previous, ContentBlock.text(previous).hasPrefix("<command-name>/context</command-name>") else {
      return false
    }
    return ContentBlock.text(block).hasPrefix("## Context Usage")
  }
}
