import SessionModel

/// A command's output as the log holds it: the beginning while it comes, the end once the command is over, and a word
/// for what was left out between them. What is kept here is bounded, whatever the command prints.
struct CommandOutput: Sendable, Hashable, Codable {
  /// How many bytes the log has of the beginning and of the end. Codex itself keeps 1 MiB, Claude Code 30 kB.
  static let beginning = 1 << 20
  static let end = 256 << 10

  /// What has been given out.
  private(set) var text = ""
  /// The newest of what came after that; at most twice `end`.
  private var tail = ""
  /// Bytes of what came after `text` and is not in `tail` any more.
  private var leftOut = 0
  private var isFull = false

  /// - Returns: what of it is for the log now
  mutating func add(_ piece: String) -> String {
    guard !isFull else {
      keep(piece[...])
      return ""
    }
    let shown = piece[...].prefix(bytes: Self.beginning - text.utf8.count)
    text += shown
    guard shown.endIndex < piece.endIndex else { return piece }
    // From here on all is held back, or the log would have a gap that nobody tells of.
    isFull = true
    keep(piece[shown.endIndex...])
    return String(shown)
  }

  private mutating func keep(_ piece: Substring) {
    let end = piece.suffix(bytes: Self.end)
    if end.startIndex > piece.startIndex {
      leftOut += tail.utf8.count + piece.utf8.count - end.utf8.count
      tail = String(end)
      return
    }
    tail += end
    // Cut at twice its size, so that each byte is moved about once.
    guard tail.utf8.count > 2 * Self.end else { return }
    let kept = String(tail[...].suffix(bytes: Self.end))
    leftOut += tail.utf8.count - kept.utf8.count
    tail = kept
  }

  /// Something was held back: the log does not have all.
  var holdsBack: Bool { isFull }

  /// What is still to be added to `text` when the command is over.
  var rest: String {
    let shown = tail[...].suffix(bytes: Self.end)
    let omitted = leftOut + tail.utf8.count - shown.utf8.count
    return omitted > 0 ? "\n… \(omitted) bytes left out …\n\(shown)" : String(shown)
  }

  /// An output that is known as a whole.
  static func bounded(_ whole: String) -> String {
    guard whole.utf8.count > beginning else { return whole }
    var output = CommandOutput()
    _ = output.add(whole)
    return output.text + output.rest
  }
}

extension Item.Content {
  /// With no more of a command's output than the log holds.
  var bounded: Item.Content {
    guard case .command(var command) = self else { return self }
    command.output = CommandOutput.bounded(command.output)
    return .command(command)
  }
}

extension Substring {
  /// The longest beginning of at most `count` bytes that cuts no character's code in two.
  fileprivate func prefix(bytes count: Int) -> Substring {
    var end = utf8.index(startIndex, offsetBy: count, limitedBy: endIndex) ?? endIndex
    while end < endIndex, Self.continues(utf8[end]) { end = utf8.index(before: end) }
    return self[..<end]
  }

  /// The longest end likewise.
  fileprivate func suffix(bytes count: Int) -> Substring {
    var start = utf8.index(endIndex, offsetBy: -count, limitedBy: startIndex) ?? startIndex
    while start < endIndex, Self.continues(utf8[start]) { start = utf8.index(after: start) }
    return self[start...]
  }

  private static func continues(_ byte: UInt8) -> Bool { byte & 0xC0 == 0x80 }
}
