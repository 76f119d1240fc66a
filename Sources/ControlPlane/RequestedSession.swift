import Crypto
import SessionModel

/// Which session a request is for, and from which point of it the client goes on.
struct RequestedSession: Sendable {
  var key: ThreadKey
  /// The turn that the client's conversation ends with; where the session has gone on behind it, it branches off.
  var head: Execution?
  /// The `execution.waiting` that its conversation ends with, where that turn has gone on behind it.
  var waiting: Int64?
  /// Where it was looked up.
  var session: Session?
}

/// The session went on behind the point that a client goes on from.
struct SessionWentOn: Error {}

extension ControlPlane {
  /// Takes a request: the turn that answers it runs, waits, or is shown again.
  /// - Parameter allowance: how many turns whoever asks may have open; nil: any number
  /// - Throws: `CentaurError`; then nothing was changed.
  public func submit(_ request: TurnRequest, within allowance: TurnAllowance? = nil) async throws -> AdmittedTurn {
    var request = try await addressed(request)
    request.allowance = allowance
    request.name = request.nameOfTries
    guard request.name != nil else { return try await admit(request) }
    return try await submitOnce(request)
  }

  /// Takes a request that is new.
  func admit(_ request: TurnRequest) async throws -> AdmittedTurn {
    var request = request
    let requested = try await session(for: &request)
    (request.head, request.headWaiting) = (requested.head, requested.waiting)
    let asked = request
    do {
      return try await ask(request.owner, requested.key) { try await $0.submit(asked) }
    } catch is SessionWentOn {
      guard let head = requested.head else { throw CentaurError(.internalFailure, "A fork from nowhere.") }
      return try await fork(request, at: head, of: requested.key)
    }
  }

  private func session(for request: inout TurnRequest) async throws -> RequestedSession {
    switch request.session {
    case .key(let key): return RequestedSession(key: key)
    case .fresh:
      if let known = try await conversation(toldBy: &request) { return known }
      return RequestedSession(key: try freshKey())
    case .continuing(let replyID):
      let reply =
        request.continuesUnkept
        ? try await services.store.replyOrUnkept(owner: request.owner, wireID: replyID)
        : try await services.store.reply(owner: request.owner, wireID: replyID)
      guard let reply, var requested = try await session(endingWith: reply.executionID, of: request.owner)
      else {
        throw Self.unknownPreviousResponse(replyID)
      }
      // Outputs answer a call, wherever their client goes on from.
      if request.outputs.isEmpty {
        let later = try await services.store.replies(reply.executionID).map(\.afterSeq).filter { $0 > reply.afterSeq }
        requested.waiting = later.min()
      }
      return requested
    case .conversation(let id):
      guard try await services.store.conversation(owner: request.owner, id: id) != nil else {
        throw Self.unknownConversation(id)
      }
      return RequestedSession(key: try Self.key(ofConversation: id))
    case .compacted(let id, let parameter):
      guard let point = try await services.store.compacted(owner: request.owner, id: id) else {
        throw Self.unknownCompaction(parameter)
      }
      // A turn behind it may have been answered since.
      if let known = try await self.session(ofItemsHeldBy: &request) { return known }
      // What came behind the item is in no session either, or its own items would have named it.
      request.preface = point.messages + (request.hasHistory ? request.history() : [])
      (request.hasHistory, request.history) = (false, { [] })
      guard let execution = point.execution else { return RequestedSession(key: try freshKey()) }
      guard let requested = try await session(endingWith: execution, of: request.owner) else {
        throw CentaurError(.storeCorrupt, "The turn of a compacted conversation is missing.")
      }
      return requested
    }
  }

  private func freshKey() throws -> ThreadKey { try ThreadKey("api:\(services.ids.thread())") }

  /// A session by one of its turns; nil where the owner has no such turn.
  func session(endingWith id: ExecutionID, of owner: Owner) async throws -> RequestedSession? {
    guard let head = try await services.store.execution(id),
      let session = try await services.store.session(head.sessionID), session.owner == owner
    else { return nil }
    return RequestedSession(key: session.key, head: head, session: session)
  }

  /// A session of its own for a conversation that goes on from an older turn than its session's newest.
  ///
  /// The same request sent again under its own name finds the session that the first one made.
  private func fork(_ request: TurnRequest, at head: Execution, of parent: ThreadKey) async throws -> AdmittedTurn {
    var request = request
    let waiting = request.headWaiting
    (request.head, request.headWaiting) = (nil, nil)
    // The calls are the parent's: what it never heard of them is told with the rest that was said since.
    request.preface = try await services.store.lateOutputs(request.outputs) + request.preface
    request.outputs = []
    request.fork = TurnRequest.Fork(parent: parent, turn: head.id, waiting: waiting)
    let key =
      if let turnKey = request.turnKey {
        try ThreadKey("api:fork:\(head.id):\(Self.digest(turnKey))")
      } else { try freshKey() }
    let asked = request
    return try await ask(request.owner, key) { try await $0.submit(asked) }
  }

  /// Short, of any text.
  private static func digest(_ text: String) -> String {
    SHA256.hash(data: Array(text.utf8)).prefix(16).hexadecimal
  }
}

extension SessionDrive {
  /// Whether the session has gone on behind the turn that the request goes on from, or that turn behind the wait that it
  /// goes on from. One that the client asks for again by its own name is no branch, wherever it is.
  /// - Throws: `CentaurError` with `sessionBusy` where it cannot be branched off yet
  func hasGoneOn(behind head: Execution, _ request: TurnRequest) async throws -> Bool {
    guard let session, session.id == head.sessionID else { return false }
    if let turnKey = request.turnKey, try await services.store.execution(session.id, turnKey: turnKey) != nil {
      return false
    }
    if request.headWaiting != nil { return true }
    guard try await services.store.isFollowed(head) else { return false }
    guard try await services.store.execution(head.id)?.status.isTerminal == true else {
      throw CentaurError(
        .sessionBusy, "The response to go on from is not finished, and another one follows it already.",
        retryAfter: .seconds(1))
    }
    return true
  }
}
