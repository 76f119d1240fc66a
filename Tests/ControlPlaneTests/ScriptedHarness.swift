import Harness
import SessionModel

/// A harness for tests: a shell script that does what a turn's text says, and the machine that speaks its protocol of
/// lines. An adapter is an extension point, so nothing of ours is replaced by it.
///
/// A message is a list of steps with `;` between them:
/// - `say TEXT`: a message; `many N`: N messages; `open TEXT`: a message that is never closed
/// - `count FILE`: adds a line to a file of the workspace; `pid FILE`: writes the harness's process id there
/// - `gate FILE`: a command that runs until the file is there
/// - `hold`: nothing more until the turn is steered or interrupted
/// - `call A B`: calls the client's tools A and B at once, and says what they answered; `call A then B`: B too, and keeps
///   it back until A is answered
/// - `instructed`: says what its instructions are
/// - `retold`: says what instructions it was told since it began, in order
/// - `recall`: says what the harness knows of the conversation before this turn
/// - `steering HOW`: what becomes of steering messages: `taken`, `refused`, or `unanswered` (it says `asked ID`)
/// - `deaf`: interrupts are not answered from here on
/// - `exit STATUS`, `garbage`, `long BYTES` (a line of that length), `stop` (it wants to be ended): ways to fail
struct ScriptedHarness: HarnessAdapter {
  /// What the process does first.
  enum Start: String, Sendable {
    case ready
    case silent
    case exits
    case garbage
    case long
    case refuses
  }

  let name: HarnessName
  var lifetime = HarnessLifetime.session
  var start = Start.ready
  /// Whether one that waited for its session can be told what was said before.
  var takesHistory = true
  /// Each process is told what was said before.
  var forgets = false

  func launch(_ context: HarnessContext) throws -> HarnessLaunch {
    HarnessLaunch(command: [context.executable, "-c", Self.script, "harness", start.rawValue])
  }

  func machine(_ context: HarnessContext) -> any HarnessMachine { ScriptedMachine(context) }

  func machine(saved: [UInt8]) throws -> any HarnessMachine { try ScriptedMachine(saved: saved) }

  func hasConversation(_ state: JSONValue?, tools: [ClientTool]) -> Bool { !forgets && state != nil }

  func canBeClaimed(by context: HarnessContext) -> Bool { takesHistory || context.history.isEmpty }

  /// Takes a command a line, reports a line each.
  private static let script = #"""
    case $1 in
      silent) exec cat > /dev/null ;;
      exits) echo 'something is missing' >&2; exit 7 ;;
      garbage) echo '%%%' ;;
      long) head -c 200000 /dev/zero | tr '\0' x; echo ;;
      refuses) echo refuses; exec cat > /dev/null ;;
    esac
    echo ready
    while read -r verb rest; do
      case $verb in
        many) i=0; while [ $i -lt $rest ]; do i=$((i+1)); echo "say $i"; done ;;
        count) echo x >> "$rest" ;;
        pid) echo $$ > "$rest.new"; mv "$rest.new" "$rest"; echo "say $rest" ;;
        gate) echo "gate $rest"; while [ ! -e "$rest" ]; do sleep 0.1; done; echo "passed $rest" ;;
        exit) exit "$rest" ;;
        garbage) echo '%%%' ;;
        long) head -c "$rest" /dev/zero | tr '\0' x; echo ;;
        *) echo "$verb $rest" ;;
      esac
    done
    """#
}

struct ScriptedMachine: HarnessMachine {
  private struct Turn: Codable {
    let execution: ExecutionID
    var steps: [String]
    var isHeld = false
    var steering = "taken"
    var isDeaf = false
    var interruptReason: String?
    var nextOrdinal = 1
    var open: [Item] = []
    var calls: [Int] = []
    /// Called, and to be told when the calls before are answered.
    var later: [[LaterCall]] = []
    var answers: [String] = []
  }

  private struct LaterCall: Codable {
    var ordinal: Int
    var name: String
  }

  static let patience = HarnessTimer(name: "patience")

  /// What was said to the harness so far, and what it was told to have been said.
  private var heard: [String] = []
  private var instructions: String?
  /// What it was told since the process began.
  private var toldInstructions: [String] = []
  private var turn: Turn?
  private var nextInput = 1
  private var hasExited = false

  init(_ context: HarnessContext) { know(context) }

  private mutating func know(_ context: HarnessContext) {
    instructions = context.instructions
    let told = context.history.map { "\($0.role.rawValue): \($0.text)" }
    heard = told.isEmpty ? context.state?["heard"]?.array?.compactMap(\.string) ?? [] : told
  }

  // MARK: Inputs

  mutating func launched() -> [HarnessAction] { [] }

  mutating func launchedWithoutSession() -> [HarnessAction] { [] }

  mutating func claimed(by context: HarnessContext) -> [HarnessAction] {
    know(context)
    return [.ready]
  }

  mutating func begin(_ begun: HarnessTurn) -> [HarnessAction] {
    turn = Turn(execution: begun.execution, steps: Self.steps(begun.input))
    if let told = begun.instructions { toldInstructions.append(told) }
    defer { heard += begun.input.map(\.text) }
    return advance()
  }

  private static func steps(_ messages: [Message]) -> [String] {
    messages.flatMap { $0.text.split(separator: ";") }
      .map { String($0.drop { $0 == " " || $0 == "\n" }) }
  }

  /// Sends what can be sent: all steps up to one that holds.
  private mutating func advance() -> [HarnessAction] {
    guard var running = turn else { return [] }
    var actions: [HarnessAction] = []
    while !running.isHeld {
      guard !running.steps.isEmpty else {
        actions.append(send("ended \(running.execution)"))
        break
      }
      let step = running.steps.removeFirst()
      switch step.split(separator: " ", maxSplits: 1).first {
      case "hold": running.isHeld = true
      case "call":
        running.isHeld = true
        actions.append(send(step))
      case "instructed":
        actions.append(send("say \(instructions ?? "nothing")"))
      case "retold": actions.append(send("say \(toldInstructions.joined(separator: " | "))"))
      case "recall": actions.append(send("say \(heard.joined(separator: " | "))"))
      case "steering": running.steering = String(step.dropFirst("steering ".count))
      case "deaf": running.isDeaf = true
      case "stop": actions.append(.stop)
      default: actions.append(send(step))
      }
    }
    turn = running
    return actions
  }

  private mutating func send(_ line: String) -> HarnessAction {
    nextInput += 1
    // A line is a command.
    let line = line.split(separator: "\n").joined(separator: " / ")
    return .send(id: "input/\(nextInput)", bytes: Array("\(line)\n".utf8))
  }

  mutating func steer(_ message: Message, inputID: String) -> [HarnessAction] {
    guard let running = turn, running.interruptReason == nil else { return [.steerRejected(inputID: inputID)] }
    switch running.steering {
    case "unanswered": return [send("say asked \(message.clientID ?? "")")]
    case "refused": return [send("rejected \(inputID)")]
    default:
      guard running.isHeld else { return [.steerRejected(inputID: inputID)] }
      heard.append(message.text)
      turn?.isHeld = false
      turn?.steps = Self.steps([message])
      return [send("steered \(inputID)")] + advance()
    }
  }

  mutating func interrupt(reason: String) -> [HarnessAction] {
    guard let running = turn, running.interruptReason == nil else { return [] }
    turn?.interruptReason = reason
    let request = running.isDeaf ? [] : [send("interrupted \(running.execution)")]
    return request + [.startTimer(Self.patience, .milliseconds(running.isDeaf ? 50 : 20_000))]
  }

  mutating func answer(_ output: ToolOutput) -> [HarnessAction] {
    guard let index = turn?.calls.firstIndex(of: output.call.ordinal) else { return [] }
    turn?.calls.remove(at: index)
    if let told = output.instructions { toldInstructions.append(told) }
    turn?.answers.append(output.parts == [] ? "nothing" : Message(parts: output.parts).text)
    guard turn?.calls.isEmpty == true, let answers = turn?.answers else { return [] }
    if turn?.later.isEmpty == false { return wait() }
    turn?.isHeld = false
    turn?.answers = []
    nextInput += 1
    let line = answers.joined(separator: " and ").split(separator: "\n").joined(separator: " / ")
    let said = HarnessAction.send(
      id: "\(output.call.execution)/tool/\(output.call.ordinal)", bytes: Array("say told \(line)\n".utf8))
    return [said] + advance()
  }

  private mutating func called(_ names: String) -> [HarnessAction] {
    var actions: [HarnessAction] = []
    for batch in names.split(separator: " then ") {
      var calls: [LaterCall] = []
      for name in batch.split(separator: " ").map(String.init) {
        calls.append(LaterCall(ordinal: turn?.nextOrdinal ?? 0, name: name))
        actions += open(.toolCall(ToolCallItem(name: name, arguments: [:], origin: .client)))
      }
      turn?.later.append(calls)
    }
    return actions + wait()
  }

  private mutating func wait() -> [HarnessAction] {
    guard let execution = turn?.execution, let next = turn?.later.removeFirst() else { return [] }
    turn?.calls = next.map(\.ordinal)
    let calls = next.map { ClientCall(id: ClientCallID(execution, $0.ordinal), name: $0.name, arguments: [:]) }
    return [.emit(EventDraft(.executionWaiting(calls, TurnUsage()), execution: execution))]
  }

  mutating func timerFired(_ timer: HarnessTimer) -> [HarnessAction] { finish() + [.stop] }

  mutating func exited(_ exit: HarnessExit) -> [HarnessAction] {
    guard !hasExited else { return [] }
    hasExited = true
    let error = CentaurError(.harnessDied, "The process ended \(exit.description).")
    return finish(.executionFailed(ExecutionFailure(error), TurnUsage())) + [.stop]
  }

  // MARK: Output

  mutating func read(_ line: HarnessLine) -> [HarnessAction] {
    let words = String(decoding: line.bytes, as: UTF8.self).split(separator: " ", maxSplits: 1).map(String.init)
    let rest = words.count > 1 ? words[1] : ""
    var index = 0
    return reported(words[0], rest).map { action in
      guard case .emit(var draft) = action else { return action }
      draft.source = EventSource(offset: line.offset, index: index)
      index += 1
      return .emit(draft)
    }
  }

  private mutating func reported(_ verb: String, _ rest: String) -> [HarnessAction] {
    switch verb {
    case "ready": return [.ready]
    case "refuses": return [.stop]
    case "say": return open(.message(MessageItem(text: rest))) + close(.message(MessageItem(text: rest)))
    case "open": return open(.message(MessageItem(text: rest)))
    case "call": return called(rest)
    case "gate": return open(.command(CommandItem(command: rest)))
    case "passed": return close(.command(CommandItem(command: rest)))
    case "steered": return [.steered(inputID: rest)]
    case "rejected": return [.steerRejected(inputID: rest)]
    case "ended": return rest == turn?.execution.rawValue ? finish(.executionCompleted(TurnUsage())) : []
    case "interrupted": return rest == turn?.execution.rawValue ? finish() : []
    default:
      let warning = EventPayload.warning(code: "harness_protocol", message: "\(verb.utf8.count) bytes")
      return [.emit(EventDraft(warning, execution: turn?.execution))]
    }
  }

  private mutating func open(_ content: Item.Content) -> [HarnessAction] {
    guard let running = turn else { return [] }
    let item = Item(ordinal: running.nextOrdinal, status: .inProgress, content: content)
    turn?.nextOrdinal += 1
    turn?.open.append(item)
    return [.emit(EventDraft(.itemStarted(item), execution: running.execution))]
  }

  private mutating func close(_ content: Item.Content) -> [HarnessAction] {
    guard let running = turn, let index = running.open.firstIndex(where: { $0.content == content }) else { return [] }
    var item = running.open[index]
    item.status = .completed
    turn?.open.remove(at: index)
    return [.emit(EventDraft(.itemCompleted(item), execution: running.execution))]
  }

  /// Closes the turn: as cancelled where it was interrupted.
  private mutating func finish(_ terminal: EventPayload? = nil) -> [HarnessAction] {
    guard let running = turn else { return [] }
    turn = nil
    let cancelled = running.interruptReason.map { EventPayload.executionCancelled(reason: $0, TurnUsage()) }
    guard let end = terminal?.completes == true ? terminal : cancelled ?? terminal else { return [] }
    let closed = running.open.map { item in
      var item = item
      item.status = .incomplete
      return HarnessAction.emit(EventDraft(.itemCompleted(item), execution: running.execution))
    }
    return closed + [
      .cancelTimer(Self.patience), .emit(EventDraft(end, execution: running.execution)),
      .saveState(["heard": .array(heard.map(JSONValue.string))]), .turnEnded(running.execution),
    ]
  }
}

extension EventPayload {
  fileprivate var completes: Bool { if case .executionCompleted = self { true } else { false } }
}
