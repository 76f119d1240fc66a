import Harness
import SessionModel

/// What a harness prints, as its machine reads it, and all that is folded over what the machine makes of it.
///
/// The input is a script, a line a step: lines that begin with `>` are what the session does, the others are the harness's.
///
///     >with {"instructions":…,"state":…,"history":["said"]}    of the first line only: what the session has
///     >warm                                                   the process was started before its session came
///     >begin TEXT, >steer TEXT, >interrupt, >timer            as the drive loop does it, where it would
///     >restore                                                another server goes on with the machine
///
/// In a harness's line `%ASKED%` is the id of the machine's newest request, and `%TURN%` the name of its newest user line.
enum HarnessTarget {
  static func check(_ input: [UInt8], _ name: HarnessName) throws {
    let script = input.split(separator: 0x0A).prefix(300).map(Array.init)
    var play = try Play(name, script, isRestored: true)
    let played = try play.run()
    if script.contains(where: { $0.starts(with: Array(">restore".utf8)) }) {
      var whole = try Play(name, script, isRestored: false)
      try require(whole.run() == played, "another server's machine does something else")
    }
    try Log.check(played, begun: play.begun)
    let events = try Log.events(played)
    for execution in play.begun { try Folds.check(events, of: execution) }
  }
}

/// One life of a harness's process.
struct Play {
  private let adapter: any HarnessAdapter
  private let steps: [[UInt8]]
  private let isRestored: Bool
  private let isWarm: Bool
  private var context: HarnessContext
  private var machine: any HarnessMachine
  private var actions: [HarnessAction] = []
  private(set) var begun: [ExecutionID] = []
  private var isClaimed = false
  private var isReady = false
  private var isStopped = false
  private var running: ExecutionID?
  private var offset: Int64 = 0
  private var timers: [HarnessTimer] = []
  private var asked: JSONValue = .null
  private var userLine: JSONValue = .null

  init(_ name: HarnessName, _ script: [[UInt8]], isRestored: Bool) throws {
    switch name {
    case .codex: adapter = CodexAppServer()
    case .codexExec: adapter = CodexExec()
    default: adapter = ClaudeCode()
    }
    self.isRestored = isRestored
    var steps = script[...]
    context = HarnessContext(
      session: SessionID(rawValue: "0123456789abcdef0123456789abcdef"), executable: "/bin/harness", workspace: "/w",
      home: "/h", temporary: "/t", modelBaseURL: "http://127.0.0.1:1/v1", model: "m", models: ["m", "n"])
    if let first = steps.first, let said = Self.rest(of: first, after: ">with "),
      let given = try? JSONValue(parsing: said.utf8)
    {
      steps = steps.dropFirst()
      context.instructions = given["instructions"]?.string
      context.state = given["state"]
      context.history = (given["history"]?.array ?? []).compactMap { $0.string.map { Message(parts: [.text($0)]) } }
    }
    isWarm = steps.first.map { $0.starts(with: Array(">warm".utf8)) } ?? false
    self.steps = Array(steps)
    var unknown = context
    if isWarm { (unknown.instructions, unknown.state, unknown.history) = (nil, nil, []) }
    machine = adapter.machine(unknown)
    _ = try? adapter.launch(context)
  }

  private static func rest(of step: [UInt8], after word: String) -> String? {
    guard step.starts(with: Array(word.utf8)) else { return nil }
    return String(decoding: step.dropFirst(word.utf8.count), as: UTF8.self)
  }

  mutating func run() throws -> [HarnessAction] {
    try perform(isWarm ? machine.launchedWithoutSession() : machine.launched())
    for step in steps { try take(step) }
    try perform(machine.exited(HarnessExit(status: 1)))
    try require(running == nil, "a turn that outlives its harness")
    return actions
  }

  private mutating func take(_ step: [UInt8]) throws {
    guard step.first == UInt8(ascii: ">") else {
      let line = filled(step)
      try perform(machine.read(HarnessLine(offset: offset, bytes: line)))
      return offset += Int64(line.count + 1)
    }
    if let text = Self.rest(of: step, after: ">begin ") {
      try begin(text)
    } else if let text = Self.rest(of: step, after: ">steer "), running != nil {
      try perform(machine.steer(Message(parts: [.text(text)]), inputID: "steer-\(offset)"))
    } else if step.starts(with: Array(">interrupt".utf8)) {
      try perform(machine.interrupt(reason: "test"))
    } else if step.starts(with: Array(">timer".utf8)), !timers.isEmpty {
      try perform(machine.timerFired(timers.removeLast()))
    } else if step.starts(with: Array(">restore".utf8)), isRestored {
      machine = try adapter.machine(saved: machine.saved)
    }
  }

  private mutating func begin(_ text: String) throws {
    guard isReady, !isStopped, running == nil, adapter.lifetime == .session || begun.isEmpty else { return }
    let execution = ExecutionID(rawValue: "e\(begun.count + 1)")
    begun.append(execution)
    running = execution
    let part: Message.Part = text.hasPrefix("data:") ? .image(dataURL: text) : .text(text)
    let options = TurnOptions(effort: text.hasPrefix("!") ? String(text.dropFirst()) : nil)
    try perform(
      machine.begin(
        HarnessTurn(execution: execution, input: [Message(parts: [part])], model: "n", options: options)))
  }

  /// The line with what the harness repeats of what it was sent.
  private func filled(_ line: [UInt8]) -> [UInt8] {
    guard line.contains(UInt8(ascii: "%")) else { return line }
    let text = String(decoding: line, as: UTF8.self)
    // Bytes that are no text stay as they are.
    guard text.utf8.elementsEqual(line) else { return line }
    return Array(text.replacing("%ASKED%", with: asked.text).replacing("%TURN%", with: userLine.text).utf8)
  }

  private mutating func perform(_ wanted: [HarnessAction]) throws {
    actions += wanted
    for action in wanted {
      switch action {
      case .ready:
        if isWarm, !isClaimed {
          isClaimed = true
          try perform(machine.claimed(by: context))
        } else {
          isReady = true
        }
      case .turnEnded(let execution):
        try require(execution == running, "the end of a turn that does not run")
        running = nil
      case .stop: isStopped = true
      case .startTimer(let timer, _): timers = timers.filter { $0 != timer } + [timer]
      case .cancelTimer(let timer): timers.removeAll { $0 == timer }
      case .send(_, let bytes): try note(bytes)
      default: continue
      }
    }
  }

  /// What is sent is one line of JSON, but for the harness that is sent a prompt.
  private mutating func note(_ bytes: [UInt8]) throws {
    guard adapter.name != .codexExec else { return }
    try require(bytes.last == 0x0A && !Lines.breaks(bytes.dropLast()), "a message that is not one line")
    guard let message = try? JSONValue(parsing: bytes) else { throw Broken(description: "a message that is no JSON") }
    if let id = message["method"] == nil ? message["request_id"] : message["id"] { asked = id }
    if let name = message["uuid"] { userLine = name }
  }
}
