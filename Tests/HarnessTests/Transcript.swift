import Foundation
import GoldenFiles
import Harness
import SessionModel

let golden = GoldenFiles()

/// A recording of a harness, `{"t":seconds,"dir":">"|"<"|"meta","msg":…}` a line.
struct Transcript {
  struct Line {
    var direction: String
    var message: JSONValue
  }

  let name: String
  let lines: [Line]

  /// - Parameter folder: `codex` or `claude`
  init(_ name: String, in folder: String) throws {
    self.name = name
    let file = golden.fixtures.appending(path: "\(folder)/\(name).jsonl")
    lines = try String(contentsOf: file, encoding: .utf8).split(separator: "\n").map { text in
      let line = try JSONValue(parsing: String(text))
      return Line(direction: line["dir"]?.string ?? "", message: line["msg"] ?? .null)
    }
  }
}

extension HarnessAction {
  /// One line of a golden file.
  var golden: String {
    switch self {
    case .emit(let draft):
      let source = draft.source.map { " @\($0.offset).\($0.index)" } ?? ""
      return "\(draft.executionID?.rawValue ?? "-") \(draft.payload.kind) \(draft.payload.json.text)\(source)"
    case .send(let id, let bytes): return "> \(id) \(String(decoding: bytes, as: UTF8.self).prefix(300).dropLast())"
    case .closeInput(let id): return "> \(id) end of input"
    case .signal(let number): return "signal \(number)"
    case .ready: return "ready"
    case .saveState(let state): return "state \(state.text)"
    case .turnEnded(let id): return "turn ended \(id)"
    case .steered(let id): return "steered \(id)"
    case .steerRejected(let id): return "steer rejected \(id)"
    case .startTimer(let timer, let duration): return "timer \(timer.name) \(duration)"
    case .cancelTimer(let timer): return "no timer \(timer.name)"
    case .stop: return "stop"
    }
  }
}

extension HarnessContext {
  /// A session whose paths and model can be told in golden files.
  static func test(
    _ executable: String, instructions: String? = nil, state: JSONValue? = nil, history: [Message] = []
  ) -> HarnessContext {
    HarnessContext(
      session: SessionID(rawValue: "s"), executable: executable, workspace: "/w", home: "/h", temporary: "/t",
      modelBaseURL: "http://127.0.0.1:1/v1", model: "m", models: ["m"], instructions: instructions, state: state,
      history: history)
  }
}
