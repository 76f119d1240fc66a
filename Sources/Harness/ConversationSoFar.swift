import SessionModel

/// An earlier conversation in words, for a harness that can be told of it only in a prompt.
enum ConversationSoFar {
  /// Nil where nothing was said.
  static func text(_ history: [Message]) -> String? {
    guard !history.isEmpty else { return nil }
    let lines = history.map { "\($0.role.rawValue): \($0.text)" }.joined(separator: "\n\n")
    return "<conversation_so_far>\n\(lines)\n</conversation_so_far>"
  }
}
