import Harness
import Logging
import Sandbox
import SessionModel

/// The one writer of one session: takes requests, runs turns one after another, and writes down what the harness does.
///
/// Concurrency: everything that reads or changes a drive's state runs as a step of its inbox, one step at a time and
/// to its end, awaits included (`serially`). So a decision and the commit that follows from it cannot be torn apart by
/// another request or by the harness. Tasks beside the loop (the reader of the shim's link, the start of a sandbox,
/// timers) own no state: they post steps. The control plane owns the drive's `run`; `shutDown` ends it and everything
/// that it started.
///
/// The parts: this file has the inbox and the log; `SessionDrive+Requests` what clients ask, `SessionDrive+Turns` the
/// turns' life, `SessionDrive+Process`, `SessionDrive+Link` and `SessionDrive+ProcessEnd` the harness process,
/// `SessionDrive+Recovery` what an earlier server left.
actor SessionDrive {
  typealias Step = @Sendable (isolated SessionDrive) async -> Void

  let owner: Owner
  let key: ThreadKey
  let services: Services
  let logger: Logger
  private let steps: AsyncStream<Step>
  private let inbox: AsyncStream<Step>.Continuation

  /// What a drive works with; one value for all drives of a server.
  struct Services: Sendable {
    let store: any SessionStore
    let sandboxes: any SandboxBackend
    let capacity: SandboxCapacity
    let configuration: ControlPlaneConfiguration
    let clock: WallClock
    let ids: IdentifierSource
    let metrics: DriveMetrics
    let logger: Logger
    var pool: WarmPool?
    let workspaces = Workspaces()
  }

  // The session, once it exists.
  var session: Session?
  var token: FencingToken?
  /// When the token was given.
  var openedAt: ContinuousClock.Instant?
  var feed: EventFeed?
  /// What clients that keep the conversation themselves would say of it.
  var digest: SessionDigest?
  /// What turns in line have for the agent; nil where the log was not asked yet.
  var turnsInLine: TurnsInLine?
  /// User messages that came by the session API and wait for an `execute`; nil where the log was not asked yet.
  var pendingMessages: [Message]?

  // Turns.
  var running: RunningTurn?
  var queue: [QueuedTurn] = []
  /// Steering messages that the harness has been sent and has not answered.
  var steers: [String: PendingSteer] = [:]
  /// Their requests, and those that repeated them: none where an earlier server was asked.
  var steerAnswers: [String: [CheckedContinuation<AdmittedTurn, any Error>]] = [:]
  /// Of the keys that they came with.
  var steerAllowances: [String: TurnAllowance] = [:]

  // The harness process.
  var process: HarnessProcess?
  var startingProcess: Int?
  /// A turn was let in for which no process is being started yet; lasts no longer than a step.
  var isPromisedPlace = false
  /// Waits for a place and starts a process; ends by itself or by being cancelled while it waits.
  var start: Task<Void, Never>?
  var lastStop: Task<Void, Never>?
  var generation = 0
  var timers: [DriveTimer: RunningTimer] = [:]
  var hasEnded = false
  /// Whether the session is given back once everything of it has ended.
  var givesLeaseBack = false

  struct RunningTurn {
    var execution: Execution
    /// What its harness has added to the log, in bytes as `EventPayload.logSize` counts them.
    var output = 0
    /// What its model calls have written so far, in tokens.
    var tokens = 0
    /// The calls of its own tools that it has begun since this server has it, by their ordinals.
    var toolCalls: Set<Int> = []
    /// What it said last, where a schema says what that is to be.
    var answer: String?
    /// Why we ended it, where its end was not the harness's: this is what the log is to say.
    var failure: CentaurError?
    /// It was told to end, and has not said yet that it has.
    var isInterrupted = false
    var waits = TurnWaits()
  }

  struct QueuedTurn {
    var execution: Execution
    var input: [Message]
    let since = ContinuousClock.now
  }

  struct RunningTimer {
    var number: Int
    var length: Duration
    var task: Task<Void, Never>
  }

  enum DriveTimer: Hashable {
    case turnLimit
    /// A turn waits for its client's tools.
    case toolWait
    /// After it its place is another's, where one is needed.
    case toolHold
    case idle
    /// A turn waits for a place for its sandbox.
    case place
    /// Nobody has asked anything of a drive that does nothing: it may be forgotten.
    case retire
    case start
    case harness(HarnessTimer)
  }

  init(owner: Owner, key: ThreadKey, services: Services) {
    self.owner = owner
    self.key = key
    self.services = services
    var logger = services.logger
    logger[metadataKey: "thread_key"] = .string(key.rawValue)
    self.logger = logger
    (steps, inbox) = AsyncStream.makeStream(of: Step.self)
  }

  /// Takes steps until the drive has ended, and returns when everything that it started has ended too.
  func run() async {
    for await step in steps {
      await step(self)
      if isPromisedPlace {
        isPromisedPlace = false
        services.capacity.withdraw()
      }
      if doesNothing, !hasEnded, timers[.retire] == nil {
        schedule(.retire, after: services.configuration.limits.quiet) { $0.retire() }
      }
    }
    for timer in timers.values { timer.task.cancel() }
    timers = [:]
    await start?.value
    await lastStop?.value
    await giveLeaseBack()
  }

  /// Runs `body` as a step of its own and gives back what it returned.
  /// - Throws: `DriveEnded` when the drive takes no more steps, and what `body` throws.
  nonisolated func serially<T: Sendable>(
    _ body: @escaping @Sendable (isolated SessionDrive) async throws -> T
  ) async throws -> T {
    try await withCheckedThrowingContinuation { continuation in
      let isTaken = post { drive in
        do {
          try drive.checkAlive()
          continuation.resume(returning: try await body(drive))
        } catch {
          continuation.resume(throwing: error)
        }
      }
      if !isTaken { continuation.resume(throwing: DriveEnded()) }
    }
  }

  /// Puts a step into the inbox. A step that was put there before the drive's end is run after it: it must see to that.
  /// - Returns: false where the drive takes no more.
  @discardableResult
  nonisolated func post(_ step: @escaping Step) -> Bool {
    if case .terminated = inbox.yield(step) { false } else { true }
  }

  /// - Throws: `DriveEnded`
  func checkAlive() throws { if hasEnded { throw DriveEnded() } }

  private var doesNothing: Bool {
    process == nil && startingProcess == nil && running == nil && queue.isEmpty && steers.isEmpty
  }

  /// Ends a drive that does nothing and that nobody listens to. One that has listeners is asked again later.
  private func retire() {
    guard doesNothing, feed?.hasSubscribers != true else { return }
    givesLeaseBack = true
    end()
  }

  /// No step after those that are in the inbox.
  func end() {
    hasEnded = true
    inbox.finish()
    feed?.close()
  }

  private func giveLeaseBack() async {
    guard givesLeaseBack, let session, let token else { return }
    do {
      try await services.store.releaseLease(session.id, token: token)
    } catch { logger.error("the lease could not be given back", metadata: ["error": "\(error)"]) }
  }

  // MARK: The log

  /// Writes one step of the session and shows it to subscribers.
  ///
  /// Where the store does not take it, what this drive holds in memory is worth nothing: the drive is given up.
  /// - Throws: `CentaurError` of the store, `StoreConflict`, `DriveEnded`
  @discardableResult
  func commit(
    _ events: [EventDraft], turnKeys: [ExecutionID: String] = [:], takes: [String: ExecutionID?] = [:],
    retakes: [String: ExecutionID] = [:], releases: [ExecutionID] = [], replies: [Reply] = [],
    forgets: [String] = [], instructions: String? = nil, harnessState: JSONValue? = nil,
    harnessJournal: [HarnessJournalChange] = []
  ) async throws -> [SessionEvent] {
    try checkAlive()
    guard let session, let token else { throw CentaurError(.internalFailure, "The session is not open.") }
    let (digest, change) = folded(events)
    let result: CommitResult
    do {
      result = try await services.store.commit(
        SessionCommit(
          session: session.id, token: token, time: services.clock.now, events: events, turnKeys: turnKeys,
          takes: takes, retakes: retakes, releases: releases, replies: replies, forgets: forgets, historyDigest: change,
          instructions: instructions, harnessState: harnessState, harnessJournal: harnessJournal))
    } catch let conflict as StoreConflict {
      throw conflict
    } catch {
      await lost(error)
      throw error
    }
    self.digest = digest
    if let instructions { self.session?.instructions = instructions }
    if let harnessState { self.session?.harnessState = harnessState == .null ? JSONValue?.none : harnessState }
    publish(result.events)
    return result.events
  }

  /// What events make of the session's digest, and what is to be kept of it with them.
  func folded(_ events: [EventDraft]) -> (SessionDigest?, HistoryDigestChange?) {
    guard var digest else { return (nil, nil) }
    var change: HistoryDigestChange?
    for event in events {
      guard let answered = digest.fold(event.payload, of: event.executionID) else { continue }
      change = HistoryDigestChange(value: digest.head.value, execution: answered)
    }
    return (digest, change)
  }

  func publish(_ events: [SessionEvent]) {
    if let last = events.last { session?.lastSeq = last.seq }
    if let status = events.lazy.compactMap(\.payload.sessionStatus).last { session?.status = status }
    for event in events { turnsInLine?.fold(event) }
    feed?.publish(events)
  }

  /// Makes the session ours if it exists: reads it, takes its lease, and looks after turns that an earlier server left.
  /// - Returns: whether the session exists.
  func open() async throws -> Bool {
    if session != nil { return true }
    guard let known = try await services.store.session(owner: owner, key: key) else { return false }
    let now = services.clock.now
    token = try await services.store.acquireLease(
      known.id, holder: services.configuration.node, now: now, until: now + services.configuration.limits.lease,
      services.configuration.isDead)
    openedAt = .now
    // Until now another may have written to it.
    guard let found = try await services.store.session(known.id) else { return false }
    session = found
    feed = EventFeed(
      sessionID: found.id, head: found.lastSeq, store: services.store, total: services.metrics.subscribers)
    do {
      digest = try await digest(of: found)
      try await recover(found)
    } catch {
      // A session that is half open would never be looked after.
      await lost(error)
      throw error
    }
    try checkAlive()
    return true
  }

  /// Ends the drive where another server has the session.
  /// - Parameters:
  ///   - held: what this server may write to the session with.
  ///   - moment: of a time before the store was asked.
  func checkLease(_ held: FencingToken?, asOf moment: ContinuousClock.Instant) async {
    guard let token, !hasEnded, let openedAt, openedAt < moment, held != token else { return }
    await lost(CentaurError(.leaseLost, "Another server drives this session."))
  }

  // MARK: Timers

  /// Posts a step after a time; a timer of the same name is replaced.
  func schedule(
    _ timer: DriveTimer, after duration: Duration, _ body: @escaping @Sendable (isolated SessionDrive) async -> Void
  ) {
    cancel(timer)
    generation += 1
    let number = generation
    let task = Task { [weak self] in
      guard (try? await Task.sleep(for: duration)) != nil else { return }
      self?.post { drive in
        // Between the timer's end and this step it may have been cancelled or replaced.
        guard drive.timers[timer]?.number == number else { return }
        drive.timers[timer] = nil
        await body(drive)
      }
    }
    timers[timer] = RunningTimer(number: number, length: duration, task: task)
  }

  func nextGeneration() -> Int {
    generation += 1
    return generation
  }

  func cancel(_ timer: DriveTimer) { timers.removeValue(forKey: timer)?.task.cancel() }
}

/// The drive took its last step before this one; a new drive may be asked.
struct DriveEnded: Error {}
