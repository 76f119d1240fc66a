import SessionModel

/// The calls of the client's tools that a harness has asked in a turn and that are not answered.
///
/// A harness asks while its model may still be speaking, and may ask again before it is answered: the log hears of a wait
/// only when nothing more can come before an answer, and of the next one when all of the first are answered. So what a
/// client is shown between two waits is all that happened between them.
struct ClientCalls: Codable {
  struct Asked: Codable {
    var ordinal: Int
    var name: String
    var arguments: JSONValue
    /// What the harness wants back with the answer.
    var handle: JSONValue
  }

  private var asked: [Asked] = []
  private var waiting: [Asked] = []

  /// Calls wait that the log has not heard of.
  var areUntold: Bool { !asked.isEmpty && waiting.isEmpty }

  mutating func ask(_ call: Asked) { asked.append(call) }

  /// What the log is to hear of the calls that were asked.
  mutating func tell(_ execution: ExecutionID, _ usage: TurnUsage) -> EventPayload? {
    guard areUntold else { return nil }
    (waiting, asked) = (asked, [])
    return .executionWaiting(
      waiting.map {
        ClientCall(id: ClientCallID(execution, $0.ordinal), name: $0.name, arguments: $0.arguments)
      }, usage)
  }

  /// The call that an output answers; nil where it does not wait.
  mutating func take(_ ordinal: Int) -> Asked? {
    guard let index = waiting.firstIndex(where: { $0.ordinal == ordinal }) else { return nil }
    return waiting.remove(at: index)
  }
}

extension ToolOutput {
  /// The id of the input frame that carries it.
  var inputID: String { "\(call.execution)/tool/\(call.ordinal)" }

  /// Its parts for a harness that takes texts and images.
  /// - Parameter image: writes an image by its data URL; nil where the harness cannot be given it
  func content(text: (String) -> JSONValue, image: (String) -> JSONValue?) -> [JSONValue] {
    let told = instructions.map { [text(NewInstructions.words($0))] } ?? []
    let content = parts.map { part in
      switch part {
      case .text(let said): text(said)
      case .image(let url, _): image(url) ?? text("[The tool gave an image; it is of a kind that cannot be shown.]")
      case .file(let name, let url):
        text(DataURL(url)?.text ?? "[The tool gave the file \(name ?? "without a name"), which is not text.]")
      }
    }
    return told + (content.isEmpty ? [text("")] : content)
  }
}
