import SessionModel

/// Clients that keep the conversation by themselves, name no session, and send all of it with each request: they are
/// known by what they send.
///
/// Two things tell. The digest of all that was said is that of a turn of one session, and of one only: where two
/// conversations went the same way, it is not known whose this is. An id that this server has minted names its session.
/// Where neither tells, the client's own telling begins a new one.
extension ControlPlane {
  /// Each may cost a look-up: whoever sends ids of somebody else's is not to cost many.
  private static let mostHeldItems = 64

  /// Where a request without a session goes on; nil where it is not known.
  func conversation(toldBy request: inout TurnRequest) async throws -> RequestedSession? {
    guard request.hasHistory else { return nil }
    let told = await Self.told(by: request)
    // A new session is told what was read here.
    request.history = { told }
    // First: behind a turn with ids there may be others, whose answers had none.
    if let known = try await session(ofAllSaidIn: told, of: request.owner), Self.fits(request, known.session) {
      return known
    }
    guard let known = try await session(ofItemsHeldBy: &request) else { return nil }
    guard Self.fits(request, known.session) else {
      request.preface = []
      return nil
    }
    return known
  }

  private func session(ofAllSaidIn told: [Message], of owner: Owner) async throws -> RequestedSession? {
    guard let digest = await Self.digest(of: told, owner),
      let execution = try await services.store.execution(owner: owner, historyDigest: digest)
    else { return nil }
    return try await session(endingWith: execution.id, of: owner)
  }

  /// A client that named no session is not refused for what a session is: one that wishes another harness, or another
  /// persona, has its conversation told to a new one.
  private static func fits(_ request: TurnRequest, _ session: Session?) -> Bool {
    guard let session else { return true }
    return (request.harness ?? session.harness) == session.harness
      && (request.persona ?? session.persona) == session.persona
  }

  /// Where the newest item that the client holds of ours is from.
  func session(ofItemsHeldBy request: inout TurnRequest) async throws -> RequestedSession? {
    for held in request.heldItems.suffix(Self.mostHeldItems).reversed() {
      guard let execution = Self.execution(inID: held.id),
        let requested = try await session(endingWith: execution, of: request.owner)
      else { continue }
      let since = held.saidSince()
      if let head = requested.head, let later = try await turn(behind: head, inWhich: since),
        let requested = try await session(endingWith: later.id, of: request.owner)
      {
        return requested
      }
      // What the client has put behind it came from elsewhere.
      request.preface = since
      return requested
    }
    return nil
  }

  /// How many turns without an id of ours may stand behind one that has one.
  private static let mostTurnsBehind = 64

  /// The turn that a history ends with whose last id of ours is an earlier one's: not each answer has an id. Known by what
  /// its user said since, turn for turn; what they were shown may be more than was said.
  private func turn(behind head: Execution, inWhich said: [Message]) async throws -> Execution? {
    var asked = Self.asked(in: said)
    guard !asked.isEmpty, asked.count <= Self.mostTurnsBehind else { return nil }
    let turns = try await services.store.executions(head.sessionID, after: head.ordinal, limit: Self.mostTurnsBehind)
    for turn in turns where turn.status == .completed {
      let events = try await services.store.conversation(
        turn.sessionID, after: turn.firstSeq - 1, before: turn.terminalSeq ?? .max, newestFirst: false, limit: 200)
      let own = events.compactMap { event in
        if event.executionID == turn.id, case .messageAppended(let message) = event.payload { message } else { nil }
      }
      guard Self.asked(in: own) == [asked.removeFirst()] else { return nil }
      if asked.isEmpty { return turn }
    }
    return nil
  }

  /// What a user said, as a digest counts it: what stands between two answers together.
  private static func asked(in said: [Message]) -> [[UInt8]] {
    var (asked, isOpen) = ([[UInt8]](), false)
    for message in said where !message.isNote {
      if message.role == .assistant {
        isOpen = false
      } else if isOpen {
        asked[asked.count - 1] += HistoryDigest.Said(message).bytes
      } else {
        asked.append(HistoryDigest.Said(message).bytes)
        isOpen = true
      }
    }
    return asked
  }

  /// Not on the actor, as the next one: a long history takes its time.
  private nonisolated static func told(by request: TurnRequest) async -> [Message] {
    request.history()
  }

  private nonisolated static func digest(of told: [Message], _ owner: Owner) async -> String? {
    // Without an answer there is nothing of ours in it.
    guard told.contains(where: { $0.role == .assistant && !$0.isNote }) else { return nil }
    var digest = HistoryDigest(of: owner)
    digest.add(told)
    return digest.value
  }

  /// `msg_<execution>_<n>`, `rs_…`, `call_…`, and whatever else of this form.
  static func execution(inID id: String) -> ExecutionID? {
    let parts = id.split(separator: "_", omittingEmptySubsequences: false)
    guard parts.count == 3, parts[1].utf8.count == 32, Int(parts[2]) != nil else { return nil }
    return ExecutionID(rawValue: String(parts[1]))
  }
}
