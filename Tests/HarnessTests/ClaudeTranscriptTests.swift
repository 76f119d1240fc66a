import GoldenFiles
import Harness
import SessionModel
import Testing

/// Every recording of the real Claude Code, through the machine. A failure here means that sessions would show, store or
/// bill a turn wrongly.
struct ClaudeTranscriptTests {
  static let recordings = golden.names(in: "claude", extension: "jsonl")

  @Test("there are recordings")
  func recorded() { #expect(Self.recordings.count > 30) }

  @Test("a recorded process gives the events of its golden file", arguments: recordings)
  func recorded(_ name: String) throws {
    try golden.check("claude/\(name)", StreamJSONPlayer.play(try Transcript(name, in: "claude")).golden)
  }

  @Test("a transcript read twice gives the same actions", arguments: recordings)
  func deterministic(_ name: String) throws {
    let transcript = try Transcript(name, in: "claude")
    #expect(StreamJSONPlayer.play(transcript) == StreamJSONPlayer.play(transcript))
  }

  @Test("a machine that is saved and restored after each line makes the same of a recording", arguments: recordings)
  func restored(_ name: String) throws {
    let transcript = try Transcript(name, in: "claude")
    #expect(StreamJSONPlayer.play(transcript, restores: { $1 }) == StreamJSONPlayer.play(transcript))
  }

  @Test("each item is started once and closed once, and pieces come between", arguments: recordings)
  func items(_ name: String) throws { StreamJSONPlayer.play(try Transcript(name, in: "claude")).checkItems() }

  @Test("each turn ends exactly once", arguments: recordings)
  func turns(_ name: String) throws { try StreamJSONPlayer.play(try Transcript(name, in: "claude")).checkTurns() }

  @Test("an event knows its line, and lines follow one another", arguments: recordings)
  func sources(_ name: String) throws { StreamJSONPlayer.play(try Transcript(name, in: "claude")).checkSources() }

  @Test("a turn's usage is the sum of its model calls", arguments: recordings)
  func usage(_ name: String) throws { StreamJSONPlayer.play(try Transcript(name, in: "claude")).checkUsage() }

  @Test("an agent's model calls are billed, and do not count as the conversation's size")
  func subagentUsage() throws {
    let played = StreamJSONPlayer.play(try Transcript("18-subagent", in: "claude"))
    guard case .executionCompleted(let usage)? = played.actions.terminals.first else {
      Issue.record("the turn was not completed")
      return
    }
    // What the harness itself reports of the turn: 400 in, 80 out.
    #expect(usage.sum == Usage(input: 400, output: 80))
    #expect(usage.last == Usage(input: 100, output: 20))
  }
}
