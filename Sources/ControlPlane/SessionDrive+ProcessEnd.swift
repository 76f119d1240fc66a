import Harness
import Logging
import Sandbox
import SessionModel

/// The end of the session's harness process, whoever wanted it.
extension SessionDrive {
  func linkEnded(_ number: Int) async {
    guard process?.generation == number else { return }
    await readLast()
  }

  /// The process is gone, or of no more use: what it left open is closed, and what runs fails.
  func processEnded(_ exit: HarnessExit) async {
    guard let ended = process, !ended.isEnding else { return }
    await endMachine(exit)
    do {
      if ended.isReady, ended.lifetime == .session {
        try await commit([EventDraft(.sandboxLost(id: ended.sandbox.id, reason: Self.reason(exit)))])
      }
      discardProcess()
      if !ended.isReady, ended.isClaimed {
        // It may have died while it waited: its session starts as one that found none.
        logger.notice("a harness of the warm pool was of no use", metadata: ["exit": "\(exit.description)"])
      } else if !ended.isReady {
        try await failQueue(
          CentaurError(.harnessStart, "The harness could not be started: its process ended \(exit.description)."))
      }
    } catch { await lost(error) }
    await startNextTurn()
  }

  /// Ends the process, if there is one, without waiting for it.
  /// - Parameter reason: for the log
  func stopProcess(reason: String) async {
    guard let ended = process, !ended.isEnding else { return }
    await endMachine(HarnessExit(status: 0))
    guard !hasEnded else { return }
    do {
      // Before its end: where another server has the session by now, the sandbox is that one's.
      if ended.isReady, ended.lifetime == .session {
        try await commit([EventDraft(.sandboxStopped(id: ended.sandbox.id, reason: reason))])
      }
    } catch { return await lost(error) }
    discardProcess()
  }

  /// Lets the machine close what is open, items of background commands included, while it still knows them.
  private func endMachine(_ exit: HarnessExit) async {
    process?.isEnding = true
    process?.isReady = false
    await drive { $0.exited(exit) }
    for (id, _) in steers.sorted(by: { $0.value.number < $1.value.number }) {
      await steerAnswered(id, isTaken: false)
    }
  }

  /// Forgets the process and sees to its end; the next one waits for that.
  func discardProcess() {
    guard let ended = process else { return }
    forget(ended)
    let services = services
    let session = session?.id
    let stopping = lastStop
    let fence = fence(ended.generation)
    lastStop = Task {
      await stopping?.value
      await Self.takeDown(ended.sandbox, fence: fence, session: session, services)
    }
  }

  private func forget(_ ended: HarnessProcess) {
    process = nil
    ended.reader?.cancel()
    for timer in timers.keys { if case .harness = timer { cancel(timer) } }
    cancel(.start)
    cancel(.idle)
    cancel(.turnLimit)
    cancel(.toolWait)
    cancel(.toolHold)
    if let session { services.capacity.isBusy(session.id) }
  }

  /// Ends a sandbox, removes its files and gives its place back. One that is a newer server's by now is left to it.
  /// - Parameter fence: as this server has it; 0 where it has none
  static func takeDown(
    _ sandbox: any SandboxHandle, fence: Int64 = 0, session: SessionID?, _ services: Services
  ) async {
    let isOurs = await sandbox.stop(fence: fence)
    if isOurs { await services.configuration.gateway.close(sandbox: sandbox.id) }
    services.capacity.giveBack()
    guard isOurs, let session else { return }
    SessionDirectories(data: services.configuration.dataDirectory, session: session).removeSandbox(sandbox.id)
  }

  private static func reason(_ exit: HarnessExit) -> String {
    exit.reason ?? exit.signal.map { "signal \($0)" } ?? exit.status.map { "exit status \($0)" } ?? "unreachable"
  }

  /// Lets go of the process without ending it: whoever opens the session next goes on with it.
  func abandonProcess() {
    guard let left = process else { return }
    forget(left)
    services.capacity.giveBack()
  }

  /// The store took a write no more: what this drive holds in memory is worth nothing. It ends; the next one opens the
  /// session anew from the log, and goes on with the harness.
  func lost(_ error: any Error) async {
    guard !hasEnded else { return }
    logger.error("the session is given up", metadata: ["error": "\(error)"])
    services.metrics.sessionsGivenUp.increment()
    start?.cancel()
    givesLeaseBack = true
    end()
    refuseSteers(error)
    queue = []
    running = nil
    // Another server may have the sandbox by now, but for one that is in no journal: nobody else knows of that. And what
    // the store will never take would come again from it.
    if process?.isInJournal == true, error.isPassing { abandonProcess() } else { discardProcess() }
  }

  private func refuseSteers(_ error: any Error) {
    for answer in steerAnswers.values.flatMap(\.self) { answer.resume(throwing: error) }
    (steers, steerAnswers, steerAllowances) = ([:], [:], [:])
  }

  /// The server ends. A turn that runs goes on in its sandbox, for the next server to take over; turns that wait stay in
  /// the store; a sandbox without a turn ends.
  func shutDown() async {
    guard !hasEnded else { return }
    KillPoint.reach("shutdown")
    queue = []
    start?.cancel()
    if running != nil, process?.isReady == true {
      refuseSteers(CentaurError.shuttingDown)
      running = nil
      abandonProcess()
    } else {
      await stopProcess(reason: "shutdown")
    }
    givesLeaseBack = true
    end()
  }
}

extension Error {
  /// Whether the store may take the same write later, or takes it from another server.
  var isPassing: Bool {
    guard let error = self as? CentaurError else { return false }
    return error.code == .storeUnavailable || error.code == .leaseLost || error.code == .sandboxVersion
  }
}
