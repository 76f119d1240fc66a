import SessionModel

/// The messages that wait for a turn of the session API, as a fold over the log.
struct PendingMessages: Sendable {
  private(set) var entries: [(seq: Int64, message: Message)] = []
  /// What turns that are not over took of them.
  private var taken: [ExecutionID: [(seq: Int64, message: Message)]] = [:]
  /// A session that began with a turn began with what its client told of the past, which waits for nothing.
  private var waits = true

  var messages: [Message] { entries.map(\.message) }

  /// Where the messages are that wait, and those that turns have taken which are not over.
  /// - Parameter counts: whether a turn's are among them
  func seqs(ofTurns counts: (ExecutionID) -> Bool) -> [Int64] {
    entries.map(\.seq) + taken.filter { counts($0.key) }.values.flatMap { $0.map(\.seq) }
  }

  mutating func fold(_ event: SessionEvent) {
    switch event.payload {
    case .sessionCreated(let created): waits = created.origin == "session_api"
    case .messageAppended(let message) where waits && event.executionID == nil && message.role == .user:
      entries.append((event.seq, message))
    case .executionQueued(let options) where options.leavesPending: waits = true
    case .executionQueued:
      if let id = event.executionID { taken[id] = entries }
      (entries, waits) = ([], true)
    case .executionFailed where Self.wasNotRun(event):
      if let id = event.executionID, let again = taken.removeValue(forKey: id) { entries = again + entries }
    case .executionCompleted, .executionFailed, .executionCancelled:
      if let id = event.executionID { taken[id] = nil }
    default: break
    }
  }

  /// Whether a turn ended as if nobody had asked for it.
  static func wasNotRun(_ event: SessionEvent) -> Bool {
    guard case .executionFailed(let failure, _) = event.payload else { return false }
    return failure.code == CentaurError.Code.noFreeSandbox.rawValue
  }
}
