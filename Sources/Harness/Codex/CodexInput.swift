import SessionModel

/// A user's messages as Codex takes them.
enum CodexInput {
  /// Of all texts of a turn's input together, in Unicode scalars: Codex 0.163.0 refuses more.
  static let longest = 1 << 20

  struct Reading {
    var items: [JSONValue] = []
    /// What could not be given to the harness.
    var warnings: [String] = []
  }

  /// `UserInput` items of `turn/start` and `turn/steer`.
  static func read(_ messages: [Message]) -> Reading {
    var reading = Reading()
    for part in messages.flatMap(\.parts) {
      switch part {
      case .text(let text): reading.items.append(["type": "text", "text": .string(text)])
      case .image(let url, let detail):
        reading.items.append(.members([("type", "image"), ("url", .string(url)), ("detail", known(detail))]))
      case .file(let name, let url):
        let (text, warning) = file(name, url)
        reading.items.append(["type": "text", "text": .string(text)])
        if let warning { reading.warnings.append(warning) }
      }
    }
    return reading
  }

  /// How closely a model is to look at an image, as far as Codex (0.163.0) takes it: of one with `low` its model is told
  /// nothing but that it was left out.
  private static func known(_ detail: String?) -> JSONValue {
    detail == "low" ? .null : JSONValue(detail)
  }

  /// All that was said, as one text: for a harness that reads a prompt.
  static func text(_ messages: [Message]) -> Reading {
    var reading = Reading()
    var texts: [String] = []
    for part in messages.flatMap(\.parts) {
      switch part {
      case .text(let text): texts.append(text)
      case .image:
        texts.append("[An image was attached; this harness cannot be given images.]")
        reading.warnings.append("An image could not be given to this harness.")
      case .file(let name, let url):
        let (text, warning) = file(name, url)
        texts.append(text)
        if let warning { reading.warnings.append(warning) }
      }
    }
    reading.items = [.string(texts.joined(separator: "\n\n"))]
    return reading
  }

  /// What was said before, as Responses items for `thread/inject_items` (recorded in wire/harness/codex/42-inject.jsonl).
  static func history(_ messages: [Message]) -> [JSONValue] {
    messages.compactMap { message in
      let isAssistant = message.role == .assistant
      var parts: [JSONValue] = []
      for part in message.parts {
        switch part {
        case .text(let text):
          parts.append(["type": isAssistant ? "output_text" : "input_text", "text": .string(text)])
        case .image(let url, let detail):
          parts.append(
            .members([("type", "input_image"), ("image_url", .string(url)), ("detail", known(detail))]))
        case .file(let name, let url): parts.append(["type": "input_text", "text": .string(file(name, url).0)])
        }
      }
      guard !parts.isEmpty else { return nil }
      var item = JSONObject()
      item.append("type", "message")
      item.append("role", isAssistant ? "assistant" : message.role == .system ? "developer" : "user")
      item.append("content", .array(parts))
      // A model that is not told which of its messages were answers does worse at the next.
      switch message.phase {
      case .commentary?: item.append("phase", "commentary")
      case .final?: item.append("phase", "final_answer")
      case nil: break
      }
      return .object(item)
    }
  }

  private static func file(_ name: String?, _ url: String) -> (String, String?) {
    let title = name ?? "file"
    guard let text = DataURL(url)?.text else {
      return (
        "[The file \(title) was attached; it is not text and this harness cannot be given it.]",
        "The file \(title) is not text and could not be given to the harness."
      )
    }
    return ("<file name=\"\(title)\">\n\(text)\n</file>", nil)
  }
}
