public import Logging
public import Sandbox
public import ServiceLifecycle
public import SessionModel

/// The sessions of this server: finds or opens the drive of each, and owns them all.
///
/// Concurrency: the actor guards one dictionary. `run` owns every drive and outlives it: a drive is not cancelled, it is
/// told to end, so that its turn and its process come to their end in order, whichever way the server goes down. A
/// session has one drive at a time: the next one is made when the one before has ended with all that it started.
public actor ControlPlane: Service {
  nonisolated let services: SessionDrive.Services
  let tries: RequestTries
  private var drives: [SessionName: SessionDrive] = [:]
  private let starts: AsyncStream<SessionDrive>
  private let starter: AsyncStream<SessionDrive>.Continuation
  /// Requests that came while their session's drive was ending.
  private var waitingForEnd: [SessionName: [CheckedContinuation<Void, Never>]] = [:]
  public private(set) var isShuttingDown = false
  let logger: Logger

  private struct SessionName: Hashable {
    var owner: Owner
    var key: ThreadKey
  }

  public init(
    store: any SessionStore, sandboxes: any SandboxBackend, configuration: ControlPlaneConfiguration,
    clock: WallClock, ids: IdentifierSource, logger: Logger
  ) {
    var services = SessionDrive.Services(
      store: store, sandboxes: sandboxes,
      capacity: SandboxCapacity(limit: configuration.limits.sandboxes, turns: configuration.limits.turns),
      configuration: configuration, clock: clock, ids: ids, metrics: DriveMetrics(), logger: logger)
    services.pool = WarmPool(services)
    self.services = services
    tries = RequestTries(since: clock.now)
    self.logger = logger
    (starts, starter) = AsyncStream.makeStream(of: SessionDrive.self)
  }

  /// Serves until graceful shutdown, or until it is cancelled.
  public func run() async throws {
    await withDiscardingTaskGroup { group in
      group.addTask { await self.renewLeases() }
      group.addTask {
        await self.recoverAll()
        await withDiscardingTaskGroup { group in
          group.addTask { await self.keepRecovering() }
          // Only now: the sandboxes that were found running have their places. Of its own, as the drives below: what it
          // has started it ends in order.
          if let pool = self.services.pool { group.addTask { await Task { await pool.run() }.value } }
        }
      }
      group.addTask { await self.keepRetention() }
      await withTaskCancellationOrGracefulShutdownHandler {
        for await drive in starts {
          group.addTask {
            // Of its own, so that the end of this group does not cancel it; it ends by `shutDown`.
            await Task { await drive.run() }.value
            await self.forget(drive)
          }
        }
      } onCancelOrGracefulShutdown: {
        Task { await self.shutDown() }
      }
      group.cancelAll()
    }
  }

  private func shutDown() async {
    guard !isShuttingDown else { return }
    isShuttingDown = true
    await withDiscardingTaskGroup { group in
      if let pool = services.pool { group.addTask { await pool.shutDown() } }
      for drive in drives.values { group.addTask { try? await drive.serially { await $0.shutDown() } } }
    }
    starter.finish()
  }

  private func renewLeases() async {
    let lease = services.configuration.limits.lease
    while (try? await Task.sleep(for: lease / 3)) != nil {
      do {
        let begun = ContinuousClock.now
        var asked: [SessionID: SessionDrive] = [:]
        for drive in drives.values { if let id = await drive.session?.id { asked[id] = drive } }
        let held = try await services.store.renewLeases(
          of: Array(asked.keys), holder: services.configuration.node, until: services.clock.now + lease)
        // One that does nothing notices nothing by itself, and its readers would wait for ever.
        for (id, drive) in asked { drive.post { await $0.checkLease(held[id], asOf: begun) } }
      } catch { logger.error("leases could not be renewed", metadata: ["error": "\(error)"]) }
    }
  }

  /// Looks again and again after sessions that another server, or a drive that was given up, leaves with a turn.
  private func keepRecovering() async {
    let leftPools = LeftWarmPools(services: services)
    await leftPools.sweep()
    var round = 0
    while (try? await Task.sleep(for: services.configuration.limits.lease / 3)) != nil {
      round += 1
      // Harnesses without a turn are rarely left behind while a server lives, and looking for them takes its time.
      if round % 6 == 0 { await recoverAll() } else { await recover(await openSessions()) }
      await leftPools.sweep()
    }
  }

  /// Opens the sessions that an earlier server left with turns that have no end yet, then those whose harness still
  /// waits for a turn.
  private func recoverAll() async {
    let left = await openSessions()
    await recover(left)
    await recover(
      await SessionDirectories.withSandboxes(data: services.configuration.dataDirectory).subtracting(left).sorted {
        $0.rawValue < $1.rawValue
      })
  }

  private func openSessions() async -> [SessionID] {
    do {
      return try await services.store.sessionsWithOpenExecutions()
    } catch {
      logger.error("no turn could be looked after", metadata: ["error": "\(error)"])
      return []
    }
  }

  /// How many sessions are looked after at once: each is mostly waiting for the store and its shim.
  private static let recoveriesAtOnce = 16

  private func recover(_ sessions: [SessionID]) async {
    await withTaskGroup(of: Void.self) { group in
      for (number, id) in sessions.enumerated() where !isShuttingDown {
        if number >= Self.recoveriesAtOnce { await group.next() }
        group.addTask { await self.recover(id) }
      }
    }
  }

  private func recover(_ id: SessionID) async {
    do {
      guard let session = try await services.store.session(id), !isShuttingDown else { return }
      try await ask(session.owner, session.key) { drive in _ = try await drive.serially { try await $0.open() } }
    } catch let error as CentaurError where error.code == .sessionElsewhere {
      // Whoever has it looks after it.
    } catch {
      // The others are looked after none the less; this one is opened by the next request for it, or in a while.
      logger.error("a session could not be looked after", metadata: ["session": "\(id)", "error": "\(error)"])
    }
  }

  private func drive(_ owner: Owner, _ key: ThreadKey) throws(CentaurError) -> SessionDrive {
    guard !isShuttingDown else { throw .shuttingDown }
    let name = SessionName(owner: owner, key: key)
    if let drive = drives[name] { return drive }
    let drive = SessionDrive(owner: owner, key: key, services: services)
    // Where nobody takes it any more, nobody would ever run it.
    if case .terminated = starter.yield(drive) { throw .shuttingDown }
    drives[name] = drive
    return drive
  }

  /// A drive has ended, with everything that it started.
  private func forget(_ drive: SessionDrive) {
    let name = SessionName(owner: drive.owner, key: drive.key)
    drives[name] = nil
    for waiting in waitingForEnd.removeValue(forKey: name) ?? [] { waiting.resume() }
  }

  private func waitForEnd(of drive: SessionDrive) async {
    let name = SessionName(owner: drive.owner, key: drive.key)
    guard drives[name] === drive else { return }
    await withCheckedContinuation { waitingForEnd[name, default: []].append($0) }
  }

  /// Asks a session's drive; where that drive ends, the next one.
  func ask<T: Sendable>(
    _ owner: Owner, _ key: ThreadKey, _ body: @Sendable (SessionDrive) async throws -> T
  ) async throws -> T {
    while true {
      let drive = try drive(owner, key)
      do {
        return try await body(drive)
      } catch is DriveEnded {
        await waitForEnd(of: drive)
      }
    }
  }

  // MARK: For the session API

  /// Opens a session, or finds it.
  /// - Throws: `CentaurError` with `harnessConflict`, `personaConflict`, `unknownHarness`, `unknownPersona`
  public func openSession(
    owner: Owner, key: ThreadKey, harness: HarnessName?, persona: String?, instructions: String?, origin: String
  ) async throws -> (session: Session, isNew: Bool) {
    try await ask(owner, key) { drive in
      try await drive.serially {
        try await $0.openSession(harness: harness, persona: persona, instructions: instructions, origin: origin)
      }
    }
  }

  /// - Throws: `CentaurError` with `sessionNotFound`
  public func session(owner: Owner, key: ThreadKey) async throws -> Session {
    guard let session = try await services.store.session(owner: owner, key: key) else { throw unknown(key) }
    return session
  }

  /// Keeps a message for the next `execute`.
  /// - Throws: `CentaurError` with `sessionNotFound`, `idempotencyConflict`
  public func append(_ message: Message, owner: Owner, key: ThreadKey) async throws -> SessionEvent {
    _ = try await session(owner: owner, key: key)
    return try await ask(owner, key) { drive in try await drive.serially { try await $0.append(message) } }
  }

  /// Begins a turn with the messages that wait and those of the request.
  /// - Throws: `CentaurError` with `sessionNotFound`, `emptyInput`
  public func execute(
    _ request: TurnRequest, key: ThreadKey, within allowance: TurnAllowance? = nil
  ) async throws -> AdmittedTurn {
    _ = try await session(owner: request.owner, key: key)
    var request = request
    request.allowance = allowance
    return try await ask(request.owner, key) { [request] drive in
      try await drive.serially { try await $0.execute(request) }
    }
  }

  /// A session's events after `after`, the stored ones first, then as they come.
  /// - Throws: `CentaurError` with `sessionNotFound`
  public func events(owner: Owner, key: ThreadKey, after: Int64) async throws -> EventSubscription {
    _ = try await session(owner: owner, key: key)
    let events = try await ask(owner, key) { drive in
      try await drive.serially { drive in
        _ = try await drive.open()
        return drive.feed?.subscribe(after: after)
      }
    }
    guard let events else { throw unknown(key) }
    return events
  }

  private func unknown(_ key: ThreadKey) -> CentaurError {
    CentaurError(.sessionNotFound, "There is no session with the thread key '\(key)'.")
  }
}
