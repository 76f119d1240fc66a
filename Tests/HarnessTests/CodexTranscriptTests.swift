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
    let played = AppServerPlayer.play(try Transcript(name))
    try golden.check("codex/\(name)", played.actions.map(\.golden).joined(separator: "\n") + "\n")
  }

  @Test("a transcript read twice gives the same actions", arguments: appServer)
  func deterministic(_ name: String) throws {
    let transcript = try Transcript(name)
    #expect(AppServerPlayer.play(transcript).actions == AppServerPlayer.play(transcript).actions)
  }

  @Test("each item is started once and closed once, and pieces come between", arguments: appServer)
  func items(_ name: String) throws {
    var open: Set<String> = []
    var started: Set<String> = []
    for case .emit(let draft) in AppServerPlayer.play(try Transcript(name)).actions {
      func key(_ ordinal: Int) -> String { "\(draft.executionID?.rawValue ?? "")/\(ordinal)" }
      switch draft.payload {
      case .itemStarted(let item):
        #expect(started.insert(key(item.ordinal)).inserted)
        open.insert(key(item.ordinal))
      case .itemDelta(let delta): #expect(open.contains(key(delta.ordinal)))
      case .itemCompleted(let item): #expect(open.remove(key(item.ordinal)) != nil)
      default: break
      }
    }
    #expect(open.isEmpty, "left open: \(open)")
  }

  @Test("each turn ends exactly once", arguments: appServer)
  func turns(_ name: String) throws {
    let played = AppServerPlayer.play(try Transcript(name))
    var ends: [ExecutionID: Int] = [:]
    for case .emit(let draft) in played.actions where draft.payload.isTerminal {
      ends[try #require(draft.executionID), default: 0] += 1
    }
    for execution in played.begun { #expect(ends[execution] == 1, "\(execution)") }
    #expect(ends.count == played.begun.count)
  }

  @Test("an event knows its line, and lines follow one another", arguments: appServer)
  func sources(_ name: String) throws {
    var last: EventSource?
    for case .emit(let draft) in AppServerPlayer.play(try Transcript(name)).actions {
      guard let source = draft.source else { continue }
      if let last { #expect(last < source) }
      last = source
    }
  }

  @Test("a turn's usage is the sum of its model calls")
  func usage() throws {
    let actions = AppServerPlayer.play(try Transcript("02-command")).actions
    var calls: [ExecutionID: Usage] = [:]
    for case .emit(let draft) in actions {
      guard let id = draft.executionID else { continue }
      switch draft.payload {
      case .usageUpdated(let call, _): calls[id] = (calls[id] ?? Usage()) + call
      case .executionCompleted(let usage): #expect(usage.sum == calls[id])
      default: break
      }
    }
    #expect(!calls.isEmpty)
  }

  @Test("codex exec --json gives the events of its golden file", arguments: ["22-exec-json", "22b-exec-json-error"])
  func exec(_ name: String) throws {
    let context = HarnessContext(
      session: SessionID(rawValue: "s"), executable: "/bin/codex", workspace: "/w", home: "/h", temporary: "/t",
      modelBaseURL: "http://127.0.0.1:1/v1", model: "m", models: ["m"])
    var machine = CodexExec().machine(context)
    var actions = machine.launched()
    actions += machine.begin(
      HarnessTurn(execution: ExecutionID(rawValue: "e1"), input: [Message(parts: [.text("do it")])], model: "m"))
    var offset: Int64 = 0
    for line in try Transcript(name).lines where line.direction == "<" {
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
