import Harness
import Logging
import Sandbox
import SessionModel

/// The end of the session's harness process, whoever wanted it.
extension SessionDrive {
  func linkEnded(_ number: Int) async {
    guard process?.generation == number else { return }
    await processEnded(HarnessExit(status: nil, reason: "the link to its sandbox was cut"))
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
    discardProcess()
    guard ended.isReady, ended.lifetime == .session else { return }
    do {
      try await commit([EventDraft(.sandboxStopped(id: ended.sandbox.id, reason: reason))])
    } catch { await lost(error) }
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
    process = nil
    ended.reader?.cancel()
    for timer in timers.keys { if case .harness = timer { cancel(timer) } }
    cancel(.start)
    cancel(.idle)
    let services = services
    let session = session
    if let session { services.capacity.isBusy(session.id) }
    let stopping = lastStop
    lastStop = Task {
      await stopping?.value
      await Self.takeDown(ended.sandbox, of: session, services)
    }
  }

  /// Ends a sandbox, removes its files and gives its place back.
  static func takeDown(_ sandbox: any SandboxHandle, of session: Session?, _ services: Services) async {
    await takeDown(sandbox, session: session?.id, services)
  }

  static func takeDown(_ sandbox: any SandboxHandle, session: SessionID?, _ services: Services) async {
    await sandbox.stop()
    await services.configuration.gateway.close(sandbox: sandbox.id)
    services.capacity.giveBack()
    guard let session else { return }
    SessionDirectories(data: services.configuration.dataDirectory, session: session).removeSandbox(sandbox.id)
  }

  private static func reason(_ exit: HarnessExit) -> String {
    exit.reason ?? exit.signal.map { "signal \($0)" } ?? exit.status.map { "exit status \($0)" } ?? "unreachable"
  }

  /// The store took a write no more: what this drive holds in memory is worth nothing. It ends; the next request opens
  /// the session anew from the log.
  func lost(_ error: any Error) async {
    guard !hasEnded else { return }
    logger.error("the session is given up", metadata: ["error": "\(error)"])
    start?.cancel()
    end()
    for answer in steers.values.flatMap(\.answers) { answer.resume(throwing: error) }
    steers = [:]
    queue = []
    running = nil
    discardProcess()
  }

  /// The server ends: so do the running turn and the process. Turns that wait stay in the store.
  func shutDown() async {
    guard !hasEnded else { return }
    KillPoint.reach("shutdown")
    running?.failure = CentaurError(
      .serverRestarted, "The server was stopped while this turn ran; its work was cut off.")
    queue = []
    start?.cancel()
    await stopProcess(reason: "shutdown")
    givesLeaseBack = true
    end()
  }

  /// Ends processes of an earlier server that still live in the session's directory.
  func stopLeftoverSandboxes(_ session: Session) async throws {
    let directories = SessionDirectories(data: services.configuration.dataDirectory, session: session.id)
    for id in directories.sandboxes {
      await services.sandboxes.stopLeftover(directory: directories.sandbox(id))
      await services.configuration.gateway.close(sandbox: id)
      directories.removeSandbox(id)
    }
  }
}
