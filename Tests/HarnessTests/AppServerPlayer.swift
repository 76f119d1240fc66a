import Harness
import SessionModel
import Testing

/// Plays a recorded `codex app-server` to a machine: what the recorder asked for, the machine is asked for; what the
/// harness answered, it reads.
///
/// The machine numbers its requests in its own way, so recorded answers get the machine's number of the same request;
/// answers to what the machine never asks are left out.
struct AppServerPlayer {
  private(set) var actions: [HarnessAction] = []
  private(set) var begun: [ExecutionID] = []
  private var machine: (any HarnessMachine)?
  private var state: JSONValue?
  private var offset: Int64 = 0
  /// Numbers of the machine's requests that have no answer yet, by method.
  private var asked: [String: [JSONValue]] = [:]
  private var numbers: [JSONValue: JSONValue] = [:]
  private var running: ExecutionID?
  private var isReady = false

  /// After each input the machine is restored from what this makes of the saved one, as by another server each time.
  private var restores: Restore?
  private var steps = 0

  static func play(_ transcript: Transcript, restores: Restore? = nil) -> PlayedTranscript {
    var player = AppServerPlayer()
    player.restores = restores
    for (index, line) in transcript.lines.enumerated() {
      switch line.direction {
      case ">": player.recorderSaid(line.message, later: transcript.lines[index...])
      case "<": player.harnessSaid(line.message)
      default: player.processChanged(line.message)
      }
    }
    player.exit(HarnessExit(status: 0))
    return PlayedTranscript(actions: player.actions, begun: player.begun)
  }

  private mutating func recorderSaid(_ message: JSONValue, later: ArraySlice<Transcript.Line>) {
    let method = message["method"]?.string ?? ""
    let parameters = message["params"] ?? .null
    switch method {
    case "initialize":
      let next = later.lazy.compactMap { $0.direction == ">" ? $0.message["method"]?.string : nil }
        .first { $0 == "thread/start" || $0 == "thread/resume" }
      if next == "thread/start" { state = nil }
      exit(HarnessExit(status: nil, reason: "another process takes its place"))
      machine = CodexAppServer().machine(context)
      isReady = false
      perform(machine?.launched() ?? [])
    case "turn/start" where running == nil && isReady:
      let execution = ExecutionID(rawValue: "e\(begun.count + 1)")
      begun.append(execution)
      running = execution
      let text = (parameters["input"]?.array ?? []).compactMap { $0["text"]?.string }.joined()
      perform(
        machine?.begin(
          HarnessTurn(execution: execution, input: [Message(parts: [.text(text)])], model: "m")) ?? [])
    case "turn/interrupt": perform(machine?.interrupt(reason: "test") ?? [])
    case "turn/steer":
      perform(machine?.steer(Message(parts: [.text("steer")]), inputID: "steer-\(message["id"]?.int ?? 0)") ?? [])
    case "turn/start":
      // A recorder that starts a turn while one runs steers; ours waits, and what is late ends by its timers.
      perform(machine?.timerFired(HarnessTimer(name: "clean")) ?? [])
    default: break
    }
    if let id = message["id"], var waiting = asked[method], !waiting.isEmpty {
      numbers[id] = waiting.removeFirst()
      asked[method] = waiting
    }
  }

  private mutating func harnessSaid(_ message: JSONValue) {
    guard machine != nil, case .object(var object) = message else { return }
    if object["method"] == nil, let id = object["id"] {
      guard let number = numbers.removeValue(forKey: id) else { return }
      object["id"] = number
    }
    let bytes = JSONValue.object(object).serialized
    perform(machine?.read(HarnessLine(offset: offset, bytes: bytes)) ?? [])
    offset += Int64(bytes.count + 1)
  }

  private mutating func processChanged(_ meta: JSONValue) {
    if let status = meta["rc"]?.int {
      exit(HarnessExit(status: status < 0 ? nil : Int32(status), signal: status < 0 ? Int32(-status) : nil))
    }
  }

  private mutating func exit(_ exit: HarnessExit) {
    perform(machine?.exited(exit) ?? [])
    machine = nil
    running = nil
    asked = [:]
    numbers = [:]
  }

  private mutating func perform(_ wanted: [HarnessAction]) {
    actions += wanted
    if let restores, let before = machine {
      do { machine = try CodexAppServer().machine(saved: restores(steps, before.saved)) } catch { Issue.record(error) }
      steps += 1
    }
    for action in wanted {
      switch action {
      case .saveState(let new): state = new
      case .ready: isReady = true
      case .turnEnded: running = nil
      case .send(_, let bytes):
        let message = try? JSONValue(parsing: bytes)
        if let method = message?["method"]?.string, let id = message?["id"] {
          // Ours is asked for before or after the recorder did the same.
          asked[method, default: []].append(id)
        }
      default: break
      }
    }
  }

  private var context: HarnessContext { .test("/bin/codex", state: state) }
}
