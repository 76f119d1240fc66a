import SessionModel

/// An earlier conversation as a transcript of Claude Code's own, from which it resumes (Claude Code 2.1.330).
///
/// There is no way to give a conversation to a process. Told in words it would be one long message of the user; as a
/// transcript the model finds its own turns as its own, and images as images. The format is not documented, but what
/// it needs is little, and a process that does not find it says so before the first turn (`ClaudeConversation`).
struct ClaudeTranscript {
  private let context: HarnessContext
  private let id: String

  init(_ context: HarnessContext, id: String) {
    self.context = context
    self.id = id
  }

  /// The file's path below the harness's home, and its content.
  var file: (path: String, content: [UInt8])? {
    guard let directory = Self.directory(of: context.workspace) else { return nil }
    return ("\(directory)/\(id).jsonl", lines.flatMap { $0.serialized + [UInt8(ascii: "\n")] })
  }

  /// Where Claude Code keeps a workspace's transcripts; nil for a path so long that it would shorten it.
  static func directory(of workspace: String) -> String? {
    let name = workspace.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "-" }
    return name.count <= 200 ? "projects/\(String(name))" : nil
  }

  private var lines: [JSONValue] {
    var previous: JSONValue = .null
    return context.history.enumerated().compactMap { index, message -> JSONValue? in
      guard let (role, said) = said(message, index) else { return nil }
      let uuid = JSONValue.string(DerivedUUID.of("\(id)/\(index)"))
      defer { previous = uuid }
      return [
        "parentUuid": previous, "isSidechain": false, "type": .string(role), "message": said, "uuid": uuid,
        // When it was said is not told to the model; what counts is the order.
        "timestamp": "1970-01-01T00:00:00.000Z", "userType": "external", "cwd": .string(context.workspace),
        "sessionId": .string(id),
      ]
    }
  }

  private func said(_ message: Message, _ index: Int) -> (role: String, message: JSONValue)? {
    switch message.role {
    case .assistant:
      guard !message.text.isEmpty else { return nil }
      return (
        "assistant",
        [
          "id": .string("msg_earlier_\(index)"), "type": "message", "role": "assistant",
          "model": .string(context.model), "content": [["type": "text", "text": .string(message.text)]],
          "stop_reason": "end_turn", "stop_sequence": .null, "usage": ["input_tokens": 0, "output_tokens": 0],
        ]
      )
    case .user, .system:
      let blocks = ClaudeInput.read([message]).blocks
      return blocks.isEmpty ? nil : ("user", ["role": "user", "content": .array(blocks)])
    }
  }
}
