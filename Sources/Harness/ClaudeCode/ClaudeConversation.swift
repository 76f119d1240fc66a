import SessionModel

/// Which of Claude Code's conversations a process serves, and how it comes to it.
///
/// Claude Code takes `--session-id X` only while it has no conversation X, and `--resume=X` only while it has one
/// (wire/harness.md §3.6). The id follows from the session's own. It is saved as begun before the first turn: from then
/// on the conversation may be on disk, and a process that died before it was is refused by name and is followed by one
/// with the next id. So each start either resumes or begins, and no two begin under one id.
struct ClaudeConversation: Hashable, Codable {
  enum Beginning: Hashable, Codable {
    /// Nothing was said before, or it is told in words with the first turn.
    case new
    /// Claude Code finds what was said before as a transcript of its own, written by us.
    case seeded
    case resumed
  }

  let id: String
  let beginning: Beginning

  init(_ context: HarnessContext) {
    id = context.state?["session"]?.string ?? DerivedUUID.of(context.session.rawValue)
    if Self.isBegun(context.state) {
      beginning = .resumed
    } else if context.history.isEmpty || context.state?["seeds"]?.bool == false
      || ClaudeTranscript.directory(of: context.workspace) == nil
    {
      beginning = .new
    } else {
      beginning = .seeded
    }
  }

  static func isBegun(_ state: JSONValue?) -> Bool {
    state?["session"]?.string != nil && state?["begun"]?.bool != false
  }

  /// What to keep once the harness takes turns in a conversation.
  static func begun(_ id: String) -> JSONValue { ["session": .string(id)] }

  /// What to keep where the harness would not come to the conversation: the next process begins another one. A
  /// transcript of ours that was not found is not written again: Claude Code looks for it elsewhere (a workspace behind a
  /// symbolic link), and what was said before is then told in words.
  var replacement: JSONValue {
    let next = JSONValue.string(DerivedUUID.after(id))
    return beginning == .seeded
      ? ["session": next, "begun": false, "seeds": false] : ["session": next, "begun": false]
  }
}
