import ControlPlane
import Foundation
import GoldenFiles
import Ingress
import SessionModel
import Testing

@testable import ResponsesIngress

let golden = GoldenFiles()

/// The requests that the real Codex 0.163.0 sent, through the classifier and the input reader.
///
/// A failure here means that a user's words are lost, that what the client said by itself is taken for them, or that an
/// agent runs for a title.
struct RecordedRequestTests {
  struct Recorded {
    var headers: RequestHeaders
    var body: JSONValue
  }

  static let all = golden.names(in: "codex-client", extension: "json")

  static func requests(_ name: String) throws -> [Recorded] {
    let file = golden.fixtures.appending(path: "codex-client/\(name).json")
    let entries = try JSONValue(parsing: try String(contentsOf: file, encoding: .utf8)).array ?? []
    return entries.filter { $0["method"]?.string == "POST" && $0["body"]?.object != nil }.map { entry in
      var headers: [String: String] = [:]
      for pair in entry["headers"]?.array ?? [] {
        if let name = pair[0]?.string, let value = pair[1]?.string { headers[name] = value }
      }
      return Recorded(headers: RequestHeaders(headers), body: restored(entry["body"] ?? .null))
    }
  }

  /// The recordings hold `<449 characters>` in the place of long texts. Where the client's own context stood, its
  /// beginning is put back, which is all that the reader looks at (wire/codex-client.md §1.3, §5).
  private static func restored(_ body: JSONValue) -> JSONValue {
    guard case .object(var object) = body, let input = object["input"]?.array else { return body }
    let isTitle = object["text"]?["format"]?["name"]?.string == "codex_output_schema"
    object["input"] = .array(
      input.enumerated().map { index, item in
        guard case .object(var changed) = item, item["role"]?.string == "user",
          let text = item["content"]?[0]?["text"]?.string, text.hasPrefix("<"), text.hasSuffix(" characters>"),
          !(isTitle && index == input.count - 1)
        else { return item }
        let beginning =
          if item["id"] == nil {
            "You are performing a CONTEXT CHECKPOINT COMPACTION. "
          } else if text == "<407 characters>" {
            "Another language model started to solve this problem and produced a summary of its thinking "
          } else {
            "<environment_context> "
          }
        changed["content"] = [["type": "input_text", "text": .string(beginning + text)]]
        return .object(changed)
      })
    return .object(object)
  }

  static func reading(_ recorded: Recorded) throws -> TurnReading {
    TurnReading(try ResponsesRequest(recorded.body), headers: recorded.headers)
  }

  static func summary(_ recorded: Recorded) -> String {
    do {
      let reading = try reading(recorded)
      let kind = RequestClass.of(recorded.body, reading.metadata)
      guard kind == .turn else { return kind.rawValue }
      let (turn, echo) = try reading.turn(of: .local)
      var parts = ["turn"]
      switch turn.session {
      case .key(let key): parts.append("session \(key)")
      case .continuing(let reply): parts.append("after \(reply)")
      case .fresh: parts.append("session of its own")
      case .conversation, .compacted: parts.append("\(turn.session)")
      }
      if let key = turn.turnKey { parts.append("turn key \(key)") }
      if turn.abortsRunningTurn { parts.append("aborts") }
      if let fork = turn.fork, case .heldItems(let held) = fork.point {
        parts.append("fork of \(fork.parent) at \(held.last ?? "-")")
      }
      if turn.hasHistory { parts.append("history of \(turn.history().count)") }
      if !echo.heldItemIDs.isEmpty { parts.append("holds \(echo.heldItemIDs.joined(separator: ","))") }
      if turn.options.outputSchema != nil { parts.append("with a schema") }
      if let effort = turn.options.effort { parts.append("effort \(effort)") }
      parts.append(echo.showsWork ? "work shown" : "work hidden")
      for message in turn.input {
        let kinds = message.parts.map { part in
          switch part {
          case .text(let text): "“\(text.prefix(60))”"
          case .image: "an image"
          case .file: "a file"
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

  private func kinds(_ name: String) throws -> [RequestClass] {
    try Self.requests(name).map { RequestClass.of($0.body, try Self.reading($0).metadata) }
  }

  private func input(_ name: String, _ number: Int) throws -> [String] {
    try Self.reading(try Self.requests(name)[number]).turn(of: .local).0.input.map(\.text)
  }

  @Test("the TUI's title request never becomes a session")
  func title() throws {
    #expect(try kinds("tui_title").filter { $0 == .title }.count == 1)
  }

  @Test("both kinds of compaction are known by their shape")
  func compaction() throws {
    #expect(try kinds("cp_a").contains(.compaction))
    #expect(try kinds("cp_openai").contains(.compactionItem))
    #expect(try kinds("tui_xcompact").contains(.compaction))
  }

  @Test("a sub-agent's requests are not its parent's")
  func subagent() throws {
    #expect(try kinds("sub_v1").contains(.subagent))
  }

  @Test("after a compaction inside a turn the summary is not taken for the user's words")
  func summaryIsNoInput() throws {
    for (index, kind) in try kinds("cp_b").enumerated() where kind == .turn {
      for text in try input("cp_b", index) { #expect(!text.hasPrefix("Another language model")) }
    }
  }

  @Test("a steering message comes with the same turn key and is read behind what was said before")
  func steer() throws {
    let turns = try Self.requests("tui_xsteer").filter {
      RequestClass.of($0.body, try Self.reading($0).metadata) == .turn
    }
    let last = try Self.reading(try #require(turns.last)).turn(of: .local).0
    #expect(last.input.last?.text.contains("steer") == true)
  }

  @Test("a retry behind a finished item holds that item and reads the same input")
  func retry() throws {
    let requests = try Self.requests("d_item")
    let first = try Self.reading(requests[0]).turn(of: .local)
    let second = try Self.reading(requests[1]).turn(of: .local)
    #expect(first.0.input.map(\.clientID) == second.0.input.map(\.clientID))
    #expect(first.0.turnKey == second.0.turnKey && first.0.turnKey != nil)
    #expect(second.1.heldItemIDs.count > first.1.heldItemIDs.count)
  }

  @Test("Esc leaves a mark that aborts the running turn")
  func abort() throws {
    let aborted = try Self.requests("tui_xesc").filter { recorded in
      let reading = try Self.reading(recorded)
      guard RequestClass.of(recorded.body, reading.metadata) == .turn else { return false }
      return try reading.turn(of: .local).0.abortsRunningTurn
    }
    #expect(aborted.count == 1)
  }

  @Test("what the user ran with ! is not taken for a prompt")
  func userShell() throws {
    for (index, kind) in try kinds("tui_xbang").enumerated() where kind == .turn {
      for text in try input("tui_xbang", index) { #expect(!text.hasPrefix("<user_shell_command>")) }
    }
  }

  @Test("an attached image is part of the message")
  func image() throws {
    let turn = try Self.reading(try Self.requests("o_img")[0]).turn(of: .local).0
    #expect(turn.input.count == 1)
    let message = try #require(turn.input.first)
    #expect(message.parts.contains { if case .image = $0 { true } else { false } })
  }
}
