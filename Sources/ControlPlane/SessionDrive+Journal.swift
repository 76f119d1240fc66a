import FoundationEssentials
import Harness
import SessionModel

/// What a next server is told of the session's harness.
extension SessionDrive {
  /// How much of its output a harness may print between two snapshots of its machine, in bytes: what a next server reads
  /// again, and what the spool keeps.
  private static let snapshotInterval: Int64 = 8 << 20

  /// What the journal is to say of what a machine has done.
  func journalChange(
    _ actions: ArraySlice<HarnessAction>, _ entry: HarnessJournalEntry?
  ) throws -> HarnessJournalChange? {
    guard let process else { return nil }
    var isAtRest = false
    var isRefusal = false
    for action in actions {
      switch action {
      case .stop: return .clear
      case .ready, .turnEnded: isAtRest = true
      case .steerRejected: isRefusal = true
      default: continue
      }
    }
    let isLong = process.isReady && process.splitter.unread - process.savedUpTo >= Self.snapshotInterval
    if isAtRest || isLong { return .restart(try snapshot(with: actions).bytes) }
    guard let entry, process.isReady, !isRefusal else { return nil }
    return .append(try entry.bytes)
  }

  /// - Parameter actions: what it wanted last, which is not done yet
  func snapshot(with actions: ArraySlice<HarnessAction> = []) throws -> HarnessJournalEntry {
    guard let process else { throw CentaurError(.internalFailure, "There is no harness to save.") }
    let frames = process.onTheWay + actions.compactMap(\.frame)
    var ended: ExecutionID?
    var answers: [HarnessSnapshot.SteerAnswer] = []
    var timers: [HarnessTimer: Duration] = [:]
    for case (.harness(let timer), let running) in self.timers { timers[timer] = running.length }
    for action in actions {
      switch action {
      case .turnEnded(let id): ended = id
      case .startTimer(let timer, let duration): timers[timer] = duration
      case .cancelTimer(let timer): timers[timer] = nil
      case .steered(let id): answers.append(HarnessSnapshot.SteerAnswer(id: id, isTaken: true))
      case .steerRejected(let id): answers.append(HarnessSnapshot.SteerAnswer(id: id, isTaken: false))
      default: continue
      }
    }
    let turn = running?.execution.id == ended ? nil : running
    return .snapshot(
      HarnessSnapshot(
        sandbox: process.sandbox.id, offset: process.splitter.unread, machine: Data(try process.machine.saved),
        execution: turn?.execution.id, failure: turn?.failure, isInterrupted: turn?.isInterrupted,
        output: turn?.output ?? 0, frames: frames, steers: steers, answers: answers, timers: timers))
  }
}
