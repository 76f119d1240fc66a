import Harness
import SessionModel

/// A turn that waits for its client's tools. It keeps its harness, which holds the question; its time at work does not
/// go on, that of the wait (`limits.tool_wait`) does. Its place is its own for a while (`limits.tool_hold`); after that
/// it is ended where a turn in line has no other place to go.
extension SessionDrive {
  /// What the running turn's events say of its waits.
  func noteWaits(_ events: [SessionEvent]) {
    for event in events where event.executionID == running?.execution.id {
      switch event.payload {
      case .executionWaiting:
        running?.waits.fold(event)
        running?.execution.status = .waiting
        cancel(.turnLimit)
        limitWait(event)
      case .executionStarted, .executionResumed:
        running?.waits.fold(event)
        running?.execution.status = .running
        endHold()
        limitWork()
      case .messageAppended: running?.waits.fold(event)
      default: continue
      }
    }
  }

  /// After a server's death the times go on from where they were.
  func restartTimes() {
    guard let running else { return }
    if running.isWaiting, let since = running.waits.waiting?.since {
      schedule(toolWaitOf: running.execution.id, since: since)
    } else {
      limitWork()
    }
  }

  private func limitWork() {
    guard let running else { return }
    let worked = running.waits.worked(until: services.clock.now)
    scheduleTurnLimit(running.execution.id, after: max(.zero, services.configuration.limits.turn - worked))
  }

  private func limitWait(_ event: SessionEvent) {
    guard let id = event.executionID else { return }
    schedule(toolWaitOf: id, since: event.createdAt)
  }

  private func schedule(toolWaitOf id: ExecutionID, since: Timestamp) {
    let limit = services.configuration.limits.toolWait
    let waited = Duration.milliseconds(max(0, services.clock.now.milliseconds - since.milliseconds))
    let hold = services.configuration.limits.toolHold
    schedule(.toolHold, after: max(.zero, hold - waited)) { $0.yieldPlace(id) }
    schedule(.toolWait, after: max(.zero, limit - waited)) { drive in
      guard drive.running?.execution.id == id, drive.running?.isWaiting == true else { return }
      drive.running?.failure = CentaurError(
        .toolWaitLimit, "The turn waited for the client's tools longer than its limit of \(limit) and was ended.")
      await drive.interruptHarness(reason: CentaurError.Code.toolWaitLimit.rawValue)
    }
  }

  /// The wait is over, or the turn.
  func endHold() {
    cancel(.toolWait)
    cancel(.toolHold)
    if let session { services.capacity.isBusy(session.id) }
  }

  private func yieldPlace(_ id: ExecutionID) {
    guard let session else { return }
    services.capacity.isHolding(session.id) { [weak self] in
      self?.post { drive in
        guard drive.running?.execution.id == id, drive.running?.isWaiting == true else {
          return drive.services.capacity.staysBusy()
        }
        drive.running?.failure = CentaurError(
          .toolWaitLimit, "The turn waited for the client's tools, and another turn needed its sandbox.")
        await drive.stopProcess(reason: "capacity")
        await drive.startNextTurn()
      }
    }
  }

  /// Somebody says something else in the place of what the turn waits for: nobody will answer it.
  func endsWait(_ request: TurnRequest) -> Bool {
    running?.isWaiting == true && (request.busy == nil || request.busy == .steer)
  }
}

extension SessionDrive.RunningTurn {
  var isWaiting: Bool { execution.status == .waiting }
}
