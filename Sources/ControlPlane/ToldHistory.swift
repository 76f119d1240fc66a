public import SessionModel

/// A conversation as its client tells it, read once: a long one takes its time, and its images are checked.
public struct ToldHistory: Sendable {
  /// What a harness is told of it: what was said, and calls of tools as short notes.
  public private(set) var messages: [Message]
  /// What was said alone, as a session's digest counts it.
  public private(set) var said: [Message]

  /// Without calls of tools.
  public init(_ messages: [Message] = []) {
    self.messages = messages
    said = messages
  }

  /// - Parameters:
  ///   - message: nil where it says nothing
  ///   - said: the same without notes
  public mutating func add(_ message: Message?, said: Message?) {
    if let message { messages.append(message) }
    if let said { self.said.append(said) }
  }
}
