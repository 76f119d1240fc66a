import ControlPlane
import Foundation
import SessionModel

/// Reads content blocks; a string counts as one text block.
enum ContentBlock {
  static func blocks(_ message: JSONValue) -> [JSONValue] {
    switch message["content"] {
    case .string(let text)?: [["type": "text", "text": .string(text)]]
    case .array(let blocks)?: blocks
    default: []
    }
  }

  static func isText(_ block: JSONValue) -> Bool { block["type"]?.string == "text" }

  /// A text block's text without the white space around it, which clients add and drop as they like.
  static func text(_ block: JSONValue) -> String {
    isText(block) ? (block["text"]?.string ?? "").trimmingCharacters(in: .whitespacesAndNewlines) : ""
  }

  /// All text of a string or of text blocks, joined by newlines.
  static func allText(_ content: JSONValue?) -> String {
    switch content {
    case .string(let text)?: text
    case .array(let blocks)?: blocks.filter(isText).compactMap { $0["text"]?.string }.joined(separator: "\n")
    default: ""
    }
  }

  /// What the block adds to a message; nil for kinds that say nothing to an agent.
  /// - Parameter path: the block's place in the body
  /// - Throws: `CentaurError` with `unsupported`, `missingField`, `invalidValue`
  static func part(_ block: JSONValue, path: String) throws(CentaurError) -> Message.Part? {
    switch block["type"]?.string {
    case "text":
      let text = text(block)
      return text.isEmpty ? nil : .text(text)
    case "image": return try InlineSource.image(block, path: path)
    case "document": return try InlineSource.document(block, path: path)
    case "search_result":
      let found = allText(block["content"])
      return found.isEmpty ? nil : .text(found)
    default: return nil
    }
  }

  /// Holds the images and documents of a program's request to what they must be, throughout its history.
  /// - Throws: `CentaurError` with `unsupported`, `missingField`, `invalidValue`
  static func checkContents(of messages: [JSONValue]) throws(CentaurError) {
    for (index, message) in messages.enumerated() { try checkContents(of: message, path: "messages[\(index)]") }
  }

  private static func checkContents(of holder: JSONValue, path: String) throws(CentaurError) {
    guard let blocks = holder["content"]?.array else { return }
    for (index, block) in blocks.enumerated() {
      let place = "\(path).content[\(index)]"
      switch block["type"]?.string {
      case "image", "document": _ = try part(block, path: place)
      case "tool_result": try checkContents(of: block, path: place)
      default: continue
      }
    }
  }

  /// What was said before, for a harness that is told the conversation by us; tool calls as short notes.
  static func history(_ messages: some Sequence<JSONValue>, isClaudeCode: Bool) -> [Message] {
    var told: [Message] = []
    for message in messages {
      guard let said = message["role"]?.string, said != "system" else { continue }
      let role: Message.Role = said == "assistant" ? .assistant : .user
      var parts: [Message.Part] = []
      func tell(_ note: String? = nil) {
        if !parts.isEmpty { told.append(Message(role: role, parts: parts)) }
        parts = []
        if let note { told.append(Message(role: role, note: note)) }
      }
      for block in blocks(message) {
        switch block["type"]?.string {
        case "tool_use":
          let input = (block["input"] ?? .null).text.prefix(1000)
          tell("[called \(block["name"]?.string ?? "a tool"): \(input)]")
        case "tool_result": tell("[tool output: \(allText(block["content"]).prefix(4000))]")
        default:
          if isClaudeCode, role == .user, ClaudeContext.isContext(block) { continue }
          if let part = try? Self.part(block, path: "messages") { parts.append(part) }
        }
      }
      tell()
    }
    return told
  }
}
