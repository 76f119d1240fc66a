public import ControlPlane
import Foundation
public import Ingress
import HTTPTypes
public import Hummingbird
public import SessionModel

/// The session API: sessions by their thread key, with their whole log. For consoles and programs that want what the
/// agent did, not only what it said.
public struct SessionRoutes: Sendable {
  private let controlPlane: ControlPlane
  private let store: any SessionStore
  private let bodyLimit: Int
  private let keepAlive: Duration

  /// - Parameters:
  ///   - bodyLimit: of a request, in bytes
  ///   - keepAlive: how long an event stream may be silent
  public init(controlPlane: ControlPlane, store: any SessionStore, bodyLimit: Int, keepAlive: Duration) {
    self.controlPlane = controlPlane
    self.store = store
    self.bodyLimit = bodyLimit
    self.keepAlive = keepAlive
  }

  public func add(to router: Router<EdgeRequestContext>) {
    router.get("/api/sessions") { request, context in try await respond { try await list(request, context) } }
    let session = router.group("/api/session/:thread_key")
    session.post { request, context in try await respond { try await open(request, context) } }
    session.get { request, context in try await respond { try await show(request, context) } }
    session.post("/messages") { request, context in try await respond { try await append(request, context) } }
    session.post("/execute") { request, context in try await respond { try await execute(request, context) } }
    session.post("/interrupt") { request, context in try await respond { try await interrupt(request, context) } }
    session.post("/archive") { request, context in try await respond { try await archive(request, context) } }
    session.delete { request, context in try await respond { try await remove(request, context) } }
    session.get("/events") { request, context in try await respond { try await events(request, context) } }
  }

  private func respond(_ body: () async throws -> Response) async throws -> Response {
    try await SessionAPIError.respond(body)
  }

  private func key(_ context: EdgeRequestContext) throws -> ThreadKey { try ThreadKey(context) }

  // MARK: Sessions

  private func list(_ request: Request, _ context: EdgeRequestContext) async throws -> Response {
    let limit = try integer(request, "limit", default: 50, in: 1...200)
    let before = request.uri.queryParameters.get("after").map { SessionID(rawValue: $0) }
    let found = try await store.sessions(owner: context.owner, before: before, limit: limit + 1)
    return .json([
      "data": .array(try await shown(found.prefix(limit), request)), "has_more": .bool(found.count > limit),
      "next": found.count > limit ? .string(found[limit - 1].id.rawValue) : .null,
    ])
  }

  /// What is looked up for each session by itself.
  private enum Included: String, CaseIterable {
    /// What its files take.
    case workspace
    case newestExecution = "newest_execution"
  }

  /// Sessions as they are shown, with what `include` asks for and `always`.
  private func shown(
    _ sessions: some Sequence<Session>, _ request: Request, always: Set<Included> = []
  ) async throws -> [JSONValue] {
    var included = always
    for name in request.uri.queryParameters.get("include")?.split(separator: ",", omittingEmptySubsequences: false)
      ?? []
    {
      guard let more = Included(rawValue: String(name)) else {
        let names = Included.allCases.map(\.rawValue).joined(separator: ", ")
        throw CentaurError(.invalidValue, "'include' takes these, with commas between: \(names).", parameter: "include")
      }
      included.insert(more)
    }
    var shown: [JSONValue] = []
    for session in sessions {
      var members = session.members
      if included.contains(.workspace) {
        members["workspace"] = ["bytes": JSONValue(await controlPlane.workspaceSize(session.id))]
      }
      if included.contains(.newestExecution) {
        members["newest_execution"] = try await store.newestExecution(session.id)?.json ?? .null
      }
      shown.append(.object(members))
    }
    return shown
  }

  private func open(_ request: Request, _ context: EdgeRequestContext) async throws -> Response {
    let key = try key(context)
    let body = try await SessionAPIBody(request, limit: bodyLimit)
    let instructions = try body.string("instructions")
    let (session, isNew) = try await controlPlane.openSession(
      owner: context.owner, key: key, harness: try body.string("harness").map(HarnessName.init(rawValue:)),
      persona: try body.string("persona"), instructions: instructions, origin: "session_api")
    if let instructions, !instructions.isEmpty, instructions != session.instructions {
      throw CentaurError(
        .instructionsConflict,
        "Session \(key) has other instructions. Send these with 'execute': they hold from that turn on.",
        parameter: "instructions")
    }
    return .json(session.json, status: isNew ? .created : .ok)
  }

  private func show(_ request: Request, _ context: EdgeRequestContext) async throws -> Response {
    let session = try await controlPlane.session(owner: context.owner, key: key(context))
    return .json(try await shown([session], request, always: [.newestExecution])[0])
  }

  private func archive(_ request: Request, _ context: EdgeRequestContext) async throws -> Response {
    .json(try await controlPlane.archive(owner: context.owner, key: key(context), force: force(request)).json)
  }

  private func remove(_ request: Request, _ context: EdgeRequestContext) async throws -> Response {
    .json(try await controlPlane.remove(owner: context.owner, key: key(context), force: force(request)).json)
  }

  /// Whether turns that run are to be ended.
  private func force(_ request: Request) throws -> Bool {
    switch request.uri.queryParameters.get("force") {
    case nil, "false": return false
    case "true": return true
    default: throw CentaurError(.invalidValue, "'force' is one of true, false.", parameter: "force")
    }
  }

  // MARK: Turns

  private func append(_ request: Request, _ context: EdgeRequestContext) async throws -> Response {
    let key = try key(context)
    let body = try await SessionAPIBody(request, limit: bodyLimit)
    var message = try body.message()
    if message.clientID == nil { message.clientID = request.headers[.idempotencyKey].map { "key:\($0)" } }
    let event = try await controlPlane.append(message, owner: context.owner, key: key)
    return .json(["event_id": .int(event.seq), "message_id": JSONValue(message.clientID)], status: .created)
  }

  private func execute(_ request: Request, _ context: EdgeRequestContext) async throws -> Response {
    let key = try key(context)
    let body = try await SessionAPIBody(request, limit: bodyLimit)
    let turn = TurnRequest(
      owner: context.owner, session: .key(key), client: .sdk,
      turnKey: request.headers[.idempotencyKey].map { "key:\($0)" },
      input: body.hasMessage ? [try body.message()] : [], instructions: try body.string("instructions"),
      origin: "session_api",
      options: TurnOptions(requestedModel: try body.string("model"), effort: try body.string("effort")),
      busy: try body.string("busy").map(busyPolicy), replyPrefix: "turn", echo: .null)
    let admitted = try await controlPlane.execute(turn, key: key, within: context.caller.allowance)
    return .json(
      [
        "execution_id": .string(admitted.execution.id.rawValue), "event_id": .int(admitted.execution.firstSeq),
        "status": .string(admitted.execution.status.rawValue), "replayed": .bool(admitted.isReplay),
      ], status: .accepted)
  }

  private func busyPolicy(_ name: String) throws -> TurnRequest.BusyPolicy {
    guard let policy = TurnRequest.BusyPolicy(rawValue: name), policy != .steer else {
      throw CentaurError(.invalidValue, "'busy' is one of queue, supersede, reject.", parameter: "busy")
    }
    return policy
  }

  private func interrupt(_ request: Request, _ context: EdgeRequestContext) async throws -> Response {
    let body = try await SessionAPIBody(request, limit: bodyLimit)
    let turn = try await controlPlane.interrupt(
      owner: context.owner, key: key(context),
      execution: try body.string("execution_id").map(ExecutionID.init(rawValue:)),
      repeatKey: request.headers[.idempotencyKey], reason: "interrupted")
    return .json(
      ["execution_id": .string(turn.id.rawValue), "status": .string(turn.status.rawValue)], status: .accepted)
  }

  // MARK: Events

  private func events(_ request: Request, _ context: EdgeRequestContext) async throws -> Response {
    let key = try key(context)
    let last = request.headers[.lastEventID]
    if let last, Int64(last) == nil || (Int64(last) ?? 0) < 0 {
      throw CentaurError(.invalidValue, "Last-Event-ID must be an event id, a whole number from 0.")
    }
    let asked = try Int64(integer(request, "after_event_id", default: 0, in: 0...Int.max))
    // A browser's EventSource that comes back asks for the address that it began with, and says by the header where it
    // is: the header is the newer of the two.
    let after = last.flatMap(Int64.init) ?? asked
    guard request.headers[.accept]?.contains("application/json") == true else {
      let events = try await controlPlane.events(owner: context.owner, key: key, after: after)
      return EventStreamResponse.make(events, to: await context.client, keepAlive: keepAlive)
    }
    let limit = try integer(request, "limit", default: 200, in: 1...1000)
    let session = try await controlPlane.session(owner: context.owner, key: key)
    let page = try await store.events(session.id, after: after, limit: limit + 1)
    return .json([
      "data": .array(page.prefix(limit).map(\.json)),
      // A page of large events ends before it is full.
      "has_more": .bool(page.count > limit || (page.last?.seq ?? .max) < session.lastSeq),
    ])
  }

  private func integer(
    _ request: Request, _ name: String, default standard: Int, in range: ClosedRange<Int>
  ) throws -> Int {
    guard let text = request.uri.queryParameters.get(name) else { return standard }
    guard let value = Int(text), range.contains(value) else {
      throw CentaurError(
        .invalidValue, "'\(name)' must be a whole number from \(range.lowerBound) to \(range.upperBound).",
        parameter: name)
    }
    return value
  }
}

extension ThreadKey {
  /// The key in a request's path.
  /// - Throws: `CentaurError` with `threadKeyTooLong` or `threadKeyMalformed`
  init(_ context: EdgeRequestContext) throws {
    let raw = context.parameters.get("thread_key") ?? ""
    try self.init(raw.removingPercentEncoding ?? raw)
  }
}

extension HTTPField.Name {
  static let idempotencyKey = Self("Idempotency-Key")!
  static let lastEventID = Self("Last-Event-ID")!
}
