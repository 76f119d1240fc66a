import SessionModel

/// What a client's tools said: blocks of the type `tool_result`.
enum ToolResult {
  /// Nil for the result of a call that is not ours.
  /// - Throws: `CentaurError` with `missingField`, `unsupported`
  static func read(_ block: JSONValue, path: String) throws(CentaurError) -> ToolOutput? {
    guard let name = block["tool_use_id"]?.string else {
      throw CentaurError(.missingField, "A tool result needs the 'tool_use_id' of its call.", parameter: path)
    }
    guard let call = ClientCallID(name) else { return nil }
    var parts: [Message.Part] = []
    let content = ContentBlock.blocks(block)
    for (index, block) in content.enumerated() {
      // Its text is whole: a tool's white space may mean something.
      if ContentBlock.isText(block) {
        parts.append(.text(block["text"]?.string ?? ""))
      } else if let part = try ContentBlock.part(block, path: "\(path).content[\(index)]") {
        parts.append(part)
      }
    }
    return ToolOutput(call: call, parts: parts, isError: block["is_error"]?.bool == true)
  }

  /// The result of another's call: told to the agent beside what the user says, or, where that is nothing, refused.
  static func foreign(_ block: JSONValue, path: String) -> (part: Message.Part, error: CentaurError) {
    let id = block["tool_use_id"]?.string ?? ""
    return (
      .text("[tool output: \(ContentBlock.allText(block["content"]))]"),
      CentaurError(
        .unknownCall, "There is no call with the id '\(id.prefix(128))'.", parameter: "\(path).tool_use_id")
    )
  }
}
