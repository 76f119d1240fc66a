import GoldenFiles
import Harness
import SessionModel
import Testing

/// Every recording of the real Codex, through the machine. A failure here means that sessions would show, store or
/// bill a turn wrongly.
struct CodexTranscriptTests {
  static let appServer = golden.names(in: "codex", extension: "jsonl").filter { !$0.hasPrefix("22") }

  @Test("a recorded app-server gives the events of its golden file", arguments: appServer)
  func recorded(_ name: String) throws {
    let played = AppServerPlayer.play(try Transcript(name, in: "codex"))
    try golden.check("codex/\(name)", played.golden)
  }

  @Test("a transcript read twice gives the same actions", arguments: appServer)
  func deterministic(_ name: String) throws {
    let transcript = try Transcript(name, in: "codex")
    #expect(AppServerPlayer.play(transcript).actions == AppServerPlayer.play(transcript).actions)
  }

  @Test("a machine that is saved and restored after each line makes the same of a recording", arguments: appServer)
  func restored(_ name: String) throws {
    let transcript = try Transcript(name, in: "codex")
    #expect(AppServerPlayer.play(transcript, restores: { $1 }).actions == AppServerPlayer.play(transcript).actions)
  }

  @Test("each item is started once and closed once, and pieces come between", arguments: appServer)
  func items(_ name: String) throws { AppServerPlayer.play(try Transcript(name, in: "codex")).checkItems() }

  @Test("each turn ends exactly once", arguments: appServer)
  func turns(_ name: String) throws { try AppServerPlayer.play(try Transcript(name, in: "codex")).checkTurns() }

  @Test("an event knows its line, and lines follow one another", arguments: appServer)
  func sources(_ name: String) throws { AppServerPlayer.play(try Transcript(name, in: "codex")).checkSources() }

  @Test("a turn's usage is the sum of its model calls", arguments: appServer)
  func usage(_ name: String) throws { AppServerPlayer.play(try Transcript(name, in: "codex")).checkUsage() }

  @Test("a turn's model calls are counted")
  func counted() throws {
    let actions = AppServerPlayer.play(try Transcript("02-command", in: "codex")).actions
    #expect(actions.contains { if case .emit(let draft) = $0 { draft.payload.kind == "usage.updated" } else { false } })
  }

  @Test("codex exec --json gives the events of its golden file", arguments: ["22-exec-json", "22b-exec-json-error"])
  func exec(_ name: String) throws {
    var machine = CodexExec().machine(.test("/bin/codex"))
    var actions = machine.launched()
    actions += machine.begin(
      HarnessTurn(execution: ExecutionID(rawValue: "e1"), input: [Message(parts: [.text("do it")])], model: "m"))
    var offset: Int64 = 0
    for line in try Transcript(name, in: "codex").lines where line.direction == "<" {
      let bytes = line.message.serialized
      actions += machine.read(HarnessLine(offset: offset, bytes: bytes))
      offset += Int64(bytes.count + 1)
    }
    actions += machine.exited(HarnessExit(status: name.hasSuffix("error") ? 1 : 0))
    try golden.check("codex-exec/\(name)", actions.map(\.golden).joined(separator: "\n") + "\n")
    let ends = actions.filter { if case .emit(let draft) = $0 { draft.payload.isTerminal } else { false } }
    #expect(ends.count == 1)
  }
}
