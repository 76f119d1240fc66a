/// Something that was said to the session: by its user, or, in history that a client brought along, by an assistant.
public struct Message: Sendable, Hashable {
  public enum Role: String, Sendable, Hashable {
    case user
    case assistant
    case system
  }

  public enum Part: Sendable, Hashable {
    case text(String)
    /// An image as a data URL. Remote addresses are refused at the edge, never fetched. How closely a model is to look at
    /// it (`detail`) is its client's word, where it said one.
    case image(dataURL: String, detail: String? = nil)
    /// A file as a data URL.
    case file(name: String?, dataURL: String)
  }

  public var role: Role
  /// Of an assistant's message: whether it was the answer or said on the way, where its client tells.
  public var phase: MessageItem.Phase?
  public var parts: [Part]
  /// Nobody said it: an agent is told in words what a tool was asked, or what that answered. What was said is known
  /// without it, as a client may keep calls or leave them out.
  public var isNote = false
  /// The client's own id of the message, by which a repeated request is known.
  public var clientID: String?

  public init(role: Role = .user, parts: [Part], clientID: String? = nil) {
    self.role = role
    self.parts = parts
    self.clientID = clientID
  }

  /// - Parameter note: what a tool was asked, or what it answered
  public init(role: Role = .user, note: String) {
    self.init(role: role, parts: [.text(note)])
    isNote = true
  }

  /// The text parts, joined by blank lines.
  public var text: String {
    parts.compactMap { if case .text(let text) = $0 { text } else { nil } }.joined(separator: "\n\n")
  }
}
