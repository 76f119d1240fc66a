import SessionModel

/// A user's messages as Claude Code takes them: content blocks of Anthropic's Messages API.
enum ClaudeInput {
  struct Reading {
    var blocks: [JSONValue] = []
    /// What could not be given to the harness.
    var warnings: [String] = []
  }

  /// Texts that follow one another become one block, so that a turn is one text to the model.
  static func read(_ messages: [Message]) -> Reading {
    var reading = Reading()
    var texts: [String] = []
    func closeText() {
      let text = texts.filter { !$0.isEmpty }.joined(separator: "\n\n")
      texts = []
      if !text.isEmpty { reading.blocks.append(Self.text(text)) }
    }
    for part in messages.flatMap(\.parts) {
      switch part {
      case .text(let text): texts.append(text)
      case .image(let url, _):
        closeText()
        add(image(url), to: &reading)
      case .file(let name, let url):
        closeText()
        add(file(name ?? "file", url), to: &reading)
      }
    }
    closeText()
    return reading
  }

  /// A text that begins with a slash would be taken for a command of Claude Code's own (`/clear` ends the conversation).
  /// What a user says is for the model: a space before it makes it plain text.
  static func text(_ text: String) -> JSONValue {
    ["type": "text", "text": .string(text.hasPrefix("/") ? " \(text)" : text)]
  }

  private static func add(_ part: (block: JSONValue, warning: String?), to reading: inout Reading) {
    reading.blocks.append(part.block)
    if let warning = part.warning { reading.warnings.append(warning) }
  }

  /// What the Messages API takes.
  static let imageTypes = ["image/png", "image/jpeg", "image/gif", "image/webp"]

  private static func image(_ url: String) -> (block: JSONValue, warning: String?) {
    guard let data = DataURL(url), imageTypes.contains(data.mediaType) else {
      return (
        text("[An image was attached; it is of a kind that this harness cannot be given.]"),
        "An image is not PNG, JPEG, GIF or WebP and could not be given to the harness."
      )
    }
    return (["type": "image", "source": base64(data)], nil)
  }

  private static func file(_ name: String, _ url: String) -> (block: JSONValue, warning: String?) {
    let data = DataURL(url)
    let source: JSONValue
    if let data, data.mediaType == "application/pdf" {
      source = base64(data)
    } else if let text = data?.text {
      source = ["type": "text", "media_type": "text/plain", "data": .string(text)]
    } else {
      return (
        text("[The file \(name) was attached; it is not text and this harness cannot be given it.]"),
        "The file \(name) is not text and could not be given to the harness."
      )
    }
    return (["type": "document", "source": source, "title": .string(name)], nil)
  }

  private static func base64(_ data: DataURL) -> JSONValue {
    ["type": "base64", "media_type": .string(data.mediaType), "data": .string(data.base64)]
  }
}
