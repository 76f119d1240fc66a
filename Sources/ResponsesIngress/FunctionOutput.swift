import SessionModel

/// What a client's functions said: items of the type `function_call_output` at the end of a request's `input`.
enum FunctionOutput {
  struct AtEnd {
    /// Those of our calls.
    var answers: [ToolOutput] = []
    /// Where they, and the user's messages beside them, begin.
    var start: Int
    /// What is to be said of an output of a call that is not ours.
    var foreign: CentaurError?
  }

  /// The outputs behind the last item of an agent.
  /// - Throws: `CentaurError` with `invalidType`, `missingField`, `unsupported`
  static func atEnd(of input: [JSONValue]) throws(CentaurError) -> AtEnd {
    var end = AtEnd(start: input.count)
    while end.start > 0, isOutput(input[end.start - 1]) || isBeside(input[end.start - 1]) { end.start -= 1 }
    for index in end.start..<input.count where isOutput(input[index]) {
      let path = "input[\(index)]"
      guard let name = input[index]["call_id"]?.string else {
        throw CentaurError(.missingField, "An output needs the 'call_id' of its call.", parameter: "\(path).call_id")
      }
      guard let call = ClientCallID(name) else {
        end.foreign = CentaurError(
          .unknownCall, "There is no call with the id '\(name.prefix(128))'.", parameter: "\(path).call_id")
        continue
      }
      let parts = try InputItem.parts(input[index]["output"] ?? .null, path: "\(path).output")
      end.answers.append(ToolOutput(call: call, parts: parts))
    }
    return end
  }

  private static func isOutput(_ item: JSONValue) -> Bool { item["type"]?.string == "function_call_output" }

  private static func isBeside(_ item: JSONValue) -> Bool {
    InputItem.isMessage(item, ["user", "developer", "system"])
  }
}
