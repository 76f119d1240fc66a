import Ingress
import SessionModel

@testable import Harness
@testable import MessagesIngress
@testable import ResponsesIngress

/// What a program's functions said, up to the harness that asked: behind the letter `r` a list of items of `/v1/responses`,
/// behind `m` a list of messages of `/v1/messages`.
enum OutputsTarget {
  static func check(_ input: [UInt8]) throws {
    guard let items = try? JSONValue(parsing: input.dropFirst()).array else { return }
    switch input.first {
    case UInt8(ascii: "r"):
      do {
        let end = try FunctionOutput.atEnd(of: items)
        try require((0...items.count).contains(end.start), "outputs that begin at \(end.start)")
        try end.answers.forEach(check)
        if let foreign = end.foreign { try Kept.check(foreign, told: ResponsesError.body(foreign)) }
      } catch let error as CentaurError { try Kept.check(error, told: ResponsesError.body(error)) }
    case UInt8(ascii: "m"):
      do {
        let turn = try MessagesIngress.TurnInput.ofSDK(items)
        try turn.outputs.forEach(check)
        for message in turn.messages { try Kept.check(.messageAppended(message)) }
      } catch let error as CentaurError {
        try Kept.check(error, told: MessagesError.body(error, isClaudeCode: false))
      }
    default: return
    }
  }

  /// The log gives it back, the frame that carries it has a name of one line, and each harness is told something.
  private static func check(_ output: ToolOutput) throws {
    try Kept.check(.executionResumed([output]))
    try require(!Lines.breaks(Array(output.inputID.utf8)), "an input whose name ends a line")
    try require(ClientCallID(output.call.description) == output.call, "a call that its own name does not name")
    for (result, key) in [(CodexTools.result(output), "contentItems"), (ClaudeClientTools.result(output), "content")] {
      try require(result[key]?.array?.isEmpty == false, "a harness that is told nothing")
      try require(!Lines.breaks(result.serialized), "an answer that ends a line")
    }
  }
}
