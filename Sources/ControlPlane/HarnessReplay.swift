import FoundationEssentials
import Harness
import SessionModel

/// Brings a harness's state machine to where an earlier server left it, and finds out what that server had not done yet.
///
/// A pure value: journal and spooled lines go in. What the machine wants on the way was done before and is not done
/// again, with these exceptions: events that are not in the log, input frames (the shim takes each once), timers that
/// still run, and answers to steering messages that were not carried out.
struct HarnessReplay {
  private(set) var machine: any HarnessMachine
  /// Of the first byte of the harness's output that the machine has not read.
  private(set) var offset: Int64
  /// The turn that runs, and why it ends where the harness will not know.
  private(set) var execution: ExecutionID?
  private(set) var failure: CentaurError?
  /// It was told to end.
  private(set) var isInterrupted: Bool
  /// About how many bytes it has added to the log: what it has added since the snapshot is not counted.
  private(set) var output: Int

  // What is to be done.
  private(set) var drafts: [EventDraft] = []
  private(set) var frames: [InputFrame]
  private(set) var signals: [Int32] = []
  private(set) var timers: [HarnessTimer: Duration] = [:]
  private(set) var steers: [String: PendingSteer]
  /// Steering messages that the harness has answered, in order.
  private(set) var answers: [(id: String, isTaken: Bool)] = []
  private(set) var state: JSONValue?
  /// The machine wants the process to be ended.
  private(set) var isDoomed = false

  private let stored: EventSource?
  private var inputs: ArraySlice<(input: HarnessInput, offset: Int64)>
  private let carriedOut: Set<String>
  /// Lines from here on were not read by the earlier server, or what they gave is not in the log.
  private let goal: Int64

  /// - Parameter stored: the newest line whose events are in the log.
  /// - Throws: where another version wrote the journal, or it has no beginning
  init(_ journal: HarnessJournal, adapter: any HarnessAdapter) throws {
    try Self.checkVersion(journal)
    let entries = try journal.entries.map(HarnessJournalEntry.init(bytes:))
    guard case .snapshot(let snapshot)? = entries.first else { throw NoSnapshot() }
    machine = try adapter.machine(saved: [UInt8](snapshot.machine))
    offset = snapshot.offset
    execution = snapshot.execution
    failure = snapshot.failure
    isInterrupted = snapshot.isInterrupted ?? false
    output = snapshot.output
    frames = snapshot.frames
    timers = snapshot.timers
    stored = journal.newestSource
    var inputs: [(input: HarnessInput, offset: Int64)] = []
    var carriedOut: Set<String> = []
    for entry in entries {
      guard case .input(let input, let offset) = entry else { continue }
      inputs.append((input, offset))
      if case .steerAnswered(let id) = input { carriedOut.insert(id) }
    }
    self.inputs = inputs[...]
    self.carriedOut = carriedOut
    steers = snapshot.steers.filter { !carriedOut.contains($0.key) }
    answers = snapshot.answers.filter { !carriedOut.contains($0.id) }.map { ($0.id, $0.isTaken) }
    goal = max(snapshot.offset, inputs.last?.offset ?? 0, stored.map { $0.offset + 1 } ?? 0)
  }

  /// The id of the harness's sandbox; nil where no harness was left.
  static func sandbox(of journal: HarnessJournal) -> String? {
    guard let first = journal.entries.first else { return nil }
    return (try? JSONValue(parsing: first))?["snapshot"]?["_0"]?["sandbox"]?.string
  }

  /// A newer server's harness is left to it.
  private static func checkVersion(_ journal: HarnessJournal) throws {
    guard let first = journal.entries.first,
      let version = (try? JSONValue(parsing: first))?["snapshot"]?["_0"]?["version"]?.int,
      version > HarnessSnapshot.currentVersion
    else { return }
    throw CentaurError(
      .sandboxVersion,
      "A newer server has left the session's harness (version \(version) of its state; this one knows "
        + "\(HarnessSnapshot.currentVersion)): a server of its version must go on with it.", retryAfter: .seconds(30))
  }

  struct NoSnapshot: Error {}

  /// Turns that began since the snapshot: their input is to be given to `turns`.
  var begun: [ExecutionID] {
    inputs.compactMap { if case .begin(let id, _) = $0.input { id } else { nil } }
  }

  /// What the turns of `begun` were given, and what the log holds of theirs that no line of the harness gave.
  struct Turn {
    var given: HarnessTurn
    var unsourced: Set<EventPayload> = []
  }
  var turns: [ExecutionID: Turn] = [:]

  /// The earlier server may have read more lines than the machine has so far.
  var needsMore: Bool { offset < goal }

  /// The next line of the spool.
  /// - Returns: false where the earlier server had not read it: it is not taken
  mutating func read(_ line: HarnessLine) -> Bool {
    give(upTo: line.offset)
    guard line.offset < goal else { return false }
    offset = line.offset + Int64(line.bytes.count) + 1
    note(machine.read(line)) { [stored] draft in
      guard let stored, let source = draft.source else { return stored == nil }
      return source > stored
    }
    return true
  }

  /// No line follows that the earlier server had read.
  mutating func finish() { give(upTo: .max) }

  /// Gives the machine the inputs that came before it read on.
  private mutating func give(upTo offset: Int64) {
    while let next = inputs.first, next.offset <= offset {
      inputs.removeFirst()
      switch next.input {
      case .begin(let id, _):
        guard let turn = turns[id] else { continue }
        execution = id
        (failure, isInterrupted, output) = (nil, false, 0)
        note(machine.begin(turn.given)) { !turn.unsourced.contains($0.payload) }
      case .interrupt(let reason, let failure):
        self.failure = failure ?? self.failure
        isInterrupted = execution != nil
        note(machine.interrupt(reason: reason)) { _ in false }
      case .steer(let id, let steer):
        if !carriedOut.contains(id) { steers[id] = steer }
        note(machine.steer(steer.message, inputID: id)) { _ in false }
      case .answer(let output): note(machine.answer(output)) { _ in false }
      case .steerAnswered: continue
      case .timer(let timer):
        timers[timer] = nil
        note(machine.timerFired(timer)) { _ in false }
      }
    }
  }

  private mutating func note(_ actions: [HarnessAction], isNew: (EventDraft) -> Bool) {
    for action in actions {
      switch action {
      case .emit(let draft): if isNew(draft) { drafts.append(draft) }
      case .send, .closeInput: frames += [action.frame].compactMap(\.self)
      case .signal(let number): signals.append(number)
      case .saveState(let new): state = new
      case .turnEnded(let id): if execution == id { execution = nil }
      case .steered(let id): if steers[id] != nil { answers.append((id, true)) }
      case .steerRejected(let id): if steers[id] != nil { answers.append((id, false)) }
      case .startTimer(let timer, let duration): timers[timer] = duration
      case .cancelTimer(let timer): timers[timer] = nil
      case .stop: isDoomed = true
      case .ready: continue
      }
    }
  }
}

extension HarnessAction {
  var endsTurn: Bool { if case .turnEnded = self { true } else { false } }
}
