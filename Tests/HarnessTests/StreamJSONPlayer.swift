import Harness
import SessionModel
import Testing

/// Plays a recorded `claude` with stream-json to a machine: what the recorder asked for, the machine is asked for; what
/// the harness answered, it reads.
///
/// The machine names its user lines and its requests in its own way, so recorded answers get the machine's names.
/// Answers to what the machine never asks are left out; where the recorder did not ask what the machine always asks
/// (`initialize`, a name for the user line), the harness's answer is put in as the other recordings have it.
struct StreamJSONPlayer {
  private(set) var actions: [HarnessAction] = []
  private(set) var begun: [ExecutionID] = []
  private var machine: (any HarnessMachine)?
  private var state: JSONValue?
  private var offset: Int64 = 0
  /// The machine's newest request of each kind that has no answer yet.
  private var asked: [String: String] = [:]
  /// The recorder's names of requests and of user lines, and the machine's.
  private var names: [String: String] = [:]
  private var userLine: String?
  private var running: ExecutionID?
  private var isReady = false

  /// After each input the machine is restored from what this makes of the saved one, as by another server each time.
  private var restores: Restore?
  private var steps = 0

  static func play(_ transcript: Transcript, restores: Restore? = nil) -> PlayedTranscript {
    var player = StreamJSONPlayer()
    player.restores = restores
    for (index, line) in transcript.lines.enumerated() {
      switch line.direction {
      case ">": player.recorderSaid(line.message)
      case "<": player.harnessSaid(line.message)
      default: player.processChanged(line.message, later: transcript.lines[(index + 1)...])
      }
    }
    player.exit(HarnessExit(status: 0))
    return PlayedTranscript(actions: player.actions, begun: player.begun)
  }

  private mutating func processChanged(_ meta: JSONValue, later: ArraySlice<Transcript.Line>) {
    if let status = meta["rc"]?.int {
      exit(HarnessExit(status: status < 0 ? nil : Int32(status), signal: status < 0 ? Int32(-status) : nil))
    }
    guard let command = meta["spawn"]?.array?.compactMap(\.string) else { return }
    exit(HarnessExit(status: nil, reason: "another process takes its place"))
    if !command.contains(where: { $0.hasPrefix("--resume") }) { state = nil }
    machine = ClaudeCode().machine(.test("/bin/claude", state: state))
    isReady = false
    perform(machine?.launched() ?? [])
    let life = later.prefix { $0.direction != "meta" }
    let initializes = life.contains { $0.message["request"]?["subtype"]?.string == "initialize" }
    // A process that printed nothing, or only that it has no such conversation, never came so far as to answer.
    guard !initializes, let first = life.first(where: { $0.direction == "<" }),
      first.message["type"]?.string != "result", let id = asked.removeValue(forKey: "initialize")
    else { return }
    read(["type": "control_response", "response": ["subtype": "success", "request_id": .string(id), "response": [:]]])
  }

  private mutating func recorderSaid(_ message: JSONValue) {
    switch message["type"]?.string {
    case "user" where running == nil && isReady:
      let execution = ExecutionID(rawValue: "e\(begun.count + 1)")
      begun.append(execution)
      running = execution
      perform(machine?.begin(HarnessTurn(execution: execution, input: [Self.said(message)], model: "m")) ?? [])
      guard let userLine else { return }
      if let name = message["uuid"]?.string {
        names[name] = userLine
      } else {
        read(["type": "command_lifecycle", "command_uuid": .string(userLine), "state": "started"])
      }
    case "user" where isReady:
      let inputID = "steer-\(offset)"
      perform(machine?.steer(Self.said(message), inputID: inputID) ?? [])
    case "control_request":
      let kind = message["request"]?["subtype"]?.string ?? ""
      if kind == "interrupt" { perform(machine?.interrupt(reason: "test") ?? []) }
      if let name = message["request_id"]?.string, let id = asked.removeValue(forKey: kind) { names[name] = id }
    default: break
    }
  }

  private static func said(_ message: JSONValue) -> Message {
    let content = message["message"]?["content"] ?? .null
    let texts = content.string.map { [$0] } ?? (content.array ?? []).compactMap { $0["text"]?.string }
    return Message(parts: texts.map { .text($0) })
  }

  private mutating func harnessSaid(_ message: JSONValue) {
    if message["type"]?.string == "control_response" {
      guard let name = message["response"]?["request_id"]?.string, names[name] != nil else { return }
    }
    read(renamed(message))
  }

  /// The message with the machine's names in the place of the recorder's.
  private func renamed(_ value: JSONValue) -> JSONValue {
    switch value {
    case .string(let text): .string(names[text] ?? text)
    case .array(let elements): .array(elements.map(renamed))
    case .object(let object): .object(JSONObject(object.members.map { (key: $0.key, value: renamed($0.value)) }))
    default: value
    }
  }

  private mutating func read(_ message: JSONValue) {
    let bytes = message.serialized
    perform(machine?.read(HarnessLine(offset: offset, bytes: bytes)) ?? [])
    offset += Int64(bytes.count + 1)
  }

  private mutating func exit(_ exit: HarnessExit) {
    perform(machine?.exited(exit) ?? [])
    machine = nil
    running = nil
    asked = [:]
    names = [:]
  }

  private mutating func perform(_ wanted: [HarnessAction]) {
    actions += wanted
    if let restores, let before = machine {
      do { machine = try ClaudeCode().machine(saved: restores(steps, before.saved)) } catch { Issue.record(error) }
      steps += 1
    }
    for action in wanted {
      switch action {
      case .saveState(let new): state = new
      case .ready: isReady = true
      case .turnEnded: running = nil
      default: break
      }
    }
    for message in wanted.sent {
      if let kind = message["request"]?["subtype"]?.string { asked[kind] = message["request_id"]?.string }
      if message["type"]?.string == "user" { userLine = message["uuid"]?.string }
    }
  }
}
