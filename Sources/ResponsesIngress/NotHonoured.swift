import SessionModel

/// What a program's request asks for and no harness can be asked for: the session's log says so, once a request.
///
/// What one harness can and another cannot is the harness's own to say.
enum NotHonoured {
  /// Nil where all of it is honoured.
  static func sentence(_ body: JSONValue) -> String? {
    let asked = fields(body)
    guard !asked.isEmpty else { return nil }
    return "Not honoured: \(asked.joined(separator: ", ")). The agent's harness decides these for itself."
  }

  private static func fields(_ body: JSONValue) -> [String] {
    var found: [String] = []
    for (name, usual) in [
      ("temperature", 1.0), ("top_p", 1), ("presence_penalty", 0), ("frequency_penalty", 0), ("top_logprobs", 0),
    ] {
      if let value = body[name]?.double, value != usual { found.append(name) }
    }
    // The specification's default is not asked for by who says nothing.
    if body["truncation"]?.string == "disabled" { found.append("truncation") }
    if body["max_tool_calls"]?.int != nil { found.append("max_tool_calls") }
    if body["parallel_tool_calls"]?.bool == false { found.append("parallel_tool_calls") }
    if forcesTool(body["tool_choice"]) { found.append("tool_choice") }
    if body["text"]?["verbosity"]?.string != nil { found.append("text.verbosity") }
    let includes = (body["include"]?.array ?? []).compactMap(\.string)
    for name in includes where name == "message.output_text.logprobs" || name == "reasoning.encrypted_content" {
      found.append("include \(name)")
    }
    if body["input"]?.array?.contains(where: InputItem.isReference) == true { found.append("item_reference") }
    return found
  }

  /// A tool that must be called; that none may be is honoured.
  private static func forcesTool(_ choice: JSONValue?) -> Bool {
    switch choice {
    case .string(let mode)?: mode == "required"
    case .object?: choice?["type"]?.string != "allowed_tools" || choice?["mode"]?.string == "required"
    default: false
    }
  }
}
