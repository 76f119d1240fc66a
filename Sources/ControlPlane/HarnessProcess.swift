import Harness
import Sandbox
import SessionModel

/// A harness process that serves the session: the shim's link to it, and the machine that speaks its protocol.
struct HarnessProcess {
  /// Tells steps of this process from those of an earlier one.
  var generation: Int
  let sandbox: any SandboxHandle
  /// There once the shim is reached.
  var link: ShimLink?
  let lifetime: HarnessLifetime
  var origin: SandboxReady.Origin
  var startedAt: ContinuousClock.Instant
  /// What it was started for. Of one that waited for its session: what it is to serve now. Nil for one that was taken
  /// over: its machine knows.
  var context: HarnessContext?
  var machine: any HarnessMachine
  var splitter: HarnessLineSplitter
  var reader: Task<Void, Never>?
  /// Output before this offset is not needed to rebuild the machine: a snapshot of it is in the journal.
  var savedUpTo: Int64 = 0
  /// Output before this offset was given back to the spool.
  var released: Int64 = 0
  /// What its shim has not taken yet, in order.
  var onTheWay: [InputFrame] = []
  /// Signals for a harness that is not reached yet.
  var signals: [Int32] = []
  /// An earlier server started it.
  var isTakenOver = false
  /// Another server can take it over: a snapshot of its machine is in the journal.
  var isInJournal = false
  /// The harness takes turns.
  var isReady = false
  /// The machine wants it to be ended: no turn is given to it any more.
  var isDoomed = false
  /// What the machine saved when it gave up lets the next process begin otherwise.
  var hasAnotherWay = false
  /// What the last turn started is being ended; where that fails the sandbox ends, and must not have the next turn.
  var isSweeping = false
  /// It is being ended; nothing more is given to it.
  var isEnding = false

  var takesTurns: Bool { isReady && !isDoomed && !isSweeping }
  /// It was up before its session was there.
  var isClaimed: Bool { origin == .warm }

  init(
    generation: Int, sandbox: any SandboxHandle, lifetime: HarnessLifetime, origin: SandboxReady.Origin,
    startedAt: ContinuousClock.Instant, context: HarnessContext?, machine: any HarnessMachine,
    splitter: HarnessLineSplitter
  ) {
    self.generation = generation
    self.sandbox = sandbox
    self.lifetime = lifetime
    self.origin = origin
    self.startedAt = startedAt
    self.context = context
    self.machine = machine
    self.splitter = splitter
  }

  /// One that an earlier server has led to where `replay` ends.
  init(
    takenOver replay: HarnessReplay, sandbox: any SandboxHandle, setup: ControlPlaneConfiguration.HarnessSetup,
    generation: Int, _ services: SessionDrive.Services
  ) {
    self.init(
      generation: generation, sandbox: sandbox, lifetime: setup.adapter.lifetime, origin: .resumed, startedAt: .now,
      context: nil, machine: replay.machine,
      splitter: HarnessLineSplitter(limit: services.configuration.limits.harnessLine, at: replay.offset))
    isTakenOver = true
    isInJournal = true
    isReady = true
    savedUpTo = replay.offset
    released = replay.offset
    onTheWay = replay.frames
    signals = replay.signals
  }

  mutating func give(_ input: (inout any HarnessMachine) -> [HarnessAction]) -> [HarnessAction] { input(&machine) }
}
