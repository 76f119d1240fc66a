import ControlPlane
import Foundation
import GoldenFiles
import Ingress
import SessionModel
import Testing

@testable import MessagesIngress

let golden = GoldenFiles()

/// The requests that the real Claude Code 2.1.330 and Anthropic's SDK sent, through the classifier and the input reader.
///
/// A failure here means that a user's words are lost, that what the client said by itself is taken for them, or that an
/// agent runs for a title.
struct RecordedRequestTests {
  struct Recorded {
    var headers: RequestHeaders
    var body: JSONValue
  }

  static let all = golden.names(in: "claude-client", extension: "json")

  static func requests(_ name: String) throws -> [Recorded] {
    let file = golden.fixtures.appending(path: "claude-client/\(name).json")
    let entries = try JSONValue(parsing: try String(contentsOf: file, encoding: .utf8)).array ?? []
    return entries.filter { $0["method"]?.string == "POST" && $0["path"]?.string == "/v1/messages" }.map { entry in
      var headers: [String: String] = [:]
      for pair in entry["headers"]?.array ?? [] {
        if let name = pair[0]?.string, let value = pair[1]?.string { headers[name] = value }
      }
      return Recorded(headers: RequestHeaders(headers), body: restored(entry["body"] ?? .null))
    }
  }

  /// The recordings hold `<580 characters>` in the place of the client's own reminders: their mark is put back.
  private static func restored(_ body: JSONValue) -> JSONValue {
    switch body {
    case .string(let text) where text.hasPrefix("<") && text.hasSuffix(" characters>"):
      .string("<system-reminder>\(text)")
    case .array(let elements): .array(elements.map(restored))
    case .object(let object): .object(JSONObject(object.members.map { (key: $0.key, value: restored($0.value)) }))
    default: body
    }
  }

  static func reading(_ recorded: Recorded) throws -> TurnReading {
    TurnReading(try MessagesRequest(recorded.body), headers: recorded.headers)
  }

  /// The oracle's names of classes.
  private static func name(_ kind: RequestClass) -> String {
    switch kind {
    case .turn: "main"
    case .probe: "probe"
    case .subagent: "side:subagent"
    case .schema: "side:schema"
    case .webSearch: "side:websearch"
    case .compaction: "side:compaction"
    case .sideQuestion: "side:btw"
    case .hook: "side:hook"
    case .fork: "side:fork"
    }
  }

  private static func shown(_ message: Message) -> JSONValue {
    if case .text(let text)? = message.parts.last {
      return .string(String(text.unicodeScalars.prefix(40).map(Character.init)))
    }
    return "<attachment>"
  }

  private static let noHints = RequestHeaders([:])

  @Test("class and input of each recorded request are what the oracle says", arguments: all)
  func oracle(_ name: String) throws {
    let expected = try String(
      contentsOf: golden.fixtures.appending(path: "golden/oracle/\(name).txt"), encoding: .utf8
    ).split(separator: "\n").map(String.init)
    let requests = try Self.requests(name)
    try #require(expected.count == requests.count)
    var taken: Set<String> = []
    for (recorded, line) in zip(requests, expected) {
      let body = try MessagesRequest(recorded.body)
      let kind = RequestClass.of(body, recorded.headers)
      let words = line.split(separator: " ", maxSplits: 3).map(String.init)
      #expect((kind == .turn) == (words[0] == "main"), "\(line)")
      #expect(Self.name(RequestClass.of(body, Self.noHints)) == words[1], "\(line)")
      guard kind == .turn else { continue }
      if recorded.body.text.contains(#""source":{"type":"url""#), line.contains("url") {
        // The oracle takes an address for an image; this server fetches nothing.
        #expect(throws: CentaurError.self) { try Self.reading(recorded).input() }
        continue
      }
      let input = try TurnInput.ofClaudeCode(
        body.messages, clientSession: recorded.headers["x-claude-code-session-id"] ?? "")
      let fresh = input.messages.filter { taken.insert($0.clientID ?? "").inserted }
      let found =
        input.continues ? "CONT" : input.messages.isEmpty ? "EMPTY" : fresh.isEmpty ? "RETRY" : "NEW"
      #expect(found == words[2], "\(line)")
      let expectedInput = try JSONValue(parsing: words[3]).array ?? []
      #expect(fresh.map(Self.shown) == expectedInput, "\(line)")
    }
  }

  static func summary(_ recorded: Recorded) -> String {
    do {
      let reading = try reading(recorded)
      let kind = reading.isClaudeCode ? RequestClass.of(reading.request, recorded.headers) : .turn
      guard kind == .turn else {
        let answer = SideAnswer(kind: kind, request: reading.request, id: "0")
        return "\(kind.rawValue): \(answer.text.split(separator: "\n")[0])"
      }
      let input = try reading.input()
      let (turn, echo) = try reading.turn(input, of: .local)
      var parts = ["turn"]
      switch turn.session {
      case .key(let key): parts.append("session \(key)")
      case .continuing(let reply): parts.append("after \(reply)")
      case .conversation, .compacted: parts.append("\(turn.session)")
      case .fresh: parts.append("session of its own")
      }
      if turn.continues { parts.append("goes on") }
      if turn.abortsRunningTurn { parts.append("aborts") }
      if turn.hasHistory { parts.append("history of \(turn.history().count)") }
      if let before = turn.options.messagesBefore { parts.append("\(before) before") }
      if !echo.heldTexts.isEmpty { parts.append("holds \(echo.heldTexts.count) texts") }
      if turn.options.outputSchema != nil { parts.append("with a schema") }
      if let effort = turn.options.effort { parts.append("effort \(effort)") }
      if let instructions = turn.instructions { parts.append("instructions “\(instructions.prefix(40))”") }
      parts.append(echo.showsWork ? "work shown" : "work hidden")
      parts.append(echo.showsThinking ? "thinking shown" : "thinking hidden")
      for message in turn.input {
        let kinds = message.parts.map { part in
          switch part {
          case .text(let text): "“\(text.prefix(60))”"
          case .image: "an image"
          case .file(let name, _): "the file \(name ?? "without a name")"
          }
        }
        parts.append("\n    \(message.clientID ?? "no id"): \(kinds.joined(separator: ", "))")
      }
      return parts.joined(separator: "; ").replacing("; \n", with: "\n")
    } catch {
      return "refused: \(error)"
    }
  }

  @Test("each recorded request is read as its golden file says", arguments: all)
  func recorded(_ name: String) throws {
    let lines = try Self.requests(name).enumerated().map { "\($0.offset + 1). \(Self.summary($0.element))" }
    try golden.check("requests/\(name)", lines.joined(separator: "\n") + "\n")
  }
}
