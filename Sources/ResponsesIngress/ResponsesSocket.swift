import ControlPlane
import Ingress
import Hummingbird
import Logging
import NIOCore
import SessionModel

/// What a WebSocket is held to beside its messages.
public struct ResponsesSocketLimits: Sendable {
  /// How old it may become. What runs then is told to its end.
  let age: Duration
  /// Streams with a name that a client may use on one.
  let streams: Int
  /// Responses at one time; more wait.
  let responses: Int
  /// Requests that may wait.
  let waiting: Int

  public init(age: Duration, streams: Int, responses: Int, waiting: Int) {
    self.age = age
    self.streams = streams
    self.responses = responses
    self.waiting = waiting
  }
}

/// One client's WebSocket on `/v1/responses`: each `response.create` is a request, answered with the events that a stream
/// over HTTP would have, one a message.
///
/// The requests of a stream (`stream_id`; most clients use the one without a name) are answered one after another, those
/// of different streams at the same time. What a response does goes on when its socket ends, as over HTTP.
///
/// Concurrency: `serve` owns the tasks: one reads messages, one answers each stream that has requests, and the first
/// writes what these give it, so that each waits until its client has taken what it wrote. The actor guards who waits.
actor ResponsesSocket {
  private let reception: ResponsesReception
  private let headers: RequestHeaders
  private let caller: Caller
  private nonisolated let client: ClientPresence
  private let limits: ResponsesSocketLimits
  private let messageLimit: Int
  private let logger: Logger

  private struct Lane {
    var isAnswering = false
    var waiting: [SocketMessage] = []
  }

  private enum Work {
    case answer(lane: String?)
    case write([ByteBuffer], written: CheckedContinuation<Bool, Never>)
    case end(WebSocketEnd)
  }

  private var lanes: [String?: Lane] = [:]
  /// Lanes with requests that wait for others' responses.
  private var ready: [String?] = []
  private var answering = 0
  private var waiting = (count: 0, size: 0)
  private var memory: SocketMemory
  private var isTooOld = false
  private nonisolated let work: AsyncStream<Work>
  private nonisolated let worker: AsyncStream<Work>.Continuation

  /// What a client says in the request for the socket of one of its requests, and not of all: Codex tells it again with
  /// each, in `client_metadata` (wire/codex-client.md §6).
  private static let ofOneRequest: Set<String> = [
    "idempotency-key", "session-id", "thread-id", "x-client-request-id", "x-codex-turn-metadata", "x-openai-subagent",
    SentRequest.retryHeader,
  ]

  /// - Parameters:
  ///   - headers: of the request for the socket
  ///   - client: the socket's own
  ///   - messageLimit: of all requests that wait, and of all that is remembered, in bytes
  init(
    _ reception: ResponsesReception, headers: RequestHeaders, caller: Caller, client: ClientPresence,
    limits: ResponsesSocketLimits, messageLimit: Int, logger: Logger
  ) {
    self.reception = reception
    self.headers = headers.without(Self.ofOneRequest)
    self.caller = caller
    self.client = client
    self.limits = limits
    self.messageLimit = messageLimit
    self.logger = logger
    memory = SocketMemory(limit: messageLimit)
    (work, worker) = AsyncStream.makeStream(of: Work.self)
  }

  /// Answers messages until there are no more, the socket is too old, or an answer cannot be told to its end.
  nonisolated func serve(_ messages: RequestBody, to writer: inout any ResponseBodyWriter) async {
    async let _: Void = growOld()
    await withDiscardingTaskGroup { group in
      group.addTask { await self.read(messages) }
      var end = WebSocketEnd.normal
      serving: for await work in work {
        switch work {
        case .answer(let lane): group.addTask { await self.answer(lane) }
        case .write(let frames, let written):
          do {
            try await writer.write(contentsOf: frames)
            written.resume(returning: true)
          } catch {
            written.resume(returning: false)
            break serving
          }
        case .end(let reason):
          end = reason
          break serving
        }
      }
      worker.finish()
      for await case .write(_, let written) in work { written.resume(returning: false) }
      // Whoever still answers has nobody who reads it.
      client.leave()
      // The reading ends with it. Where it cannot be written, the connection has ended already.
      try? await WebSocketExchange.close(writer, end)
    }
  }

  private nonisolated func read(_ messages: RequestBody) async {
    do {
      for try await message in messages { try await take(message) }
    } catch {
      // The connection broke, or nobody reads what we write: the end in either case.
    }
    worker.yield(.end(.normal))
  }

  /// Returns when the client has taken it.
  /// - Throws: `ClientLeft`
  private nonisolated func write(_ frames: [ByteBuffer]) async throws {
    let isWritten = await withCheckedContinuation { written in
      if case .terminated = worker.yield(.write(frames, written: written)) { written.resume(returning: false) }
    }
    guard isWritten else { throw ClientLeft() }
  }

  // MARK: Who waits

  /// Each message is a request of its key's, whatever it says: one that is refused has cost as much to read.
  private func take(_ data: ByteBuffer) async throws {
    let read = Result { () throws(SocketMessage.Refused) in try SocketMessage(data) }
    let lane = read.lane
    do { try caller.countRequest() } catch { return try await write(refused(error, stream: lane)) }
    let message: SocketMessage
    do { message = try read.get() } catch {
      return try await write([ResponsesError.message(error.error, stream: lane)])
    }
    guard message.kind == .create else {
      return try await write([ByteBuffer(bytes: message.steerFailed.serialized)])
    }
    do { try enqueue(message) } catch { try await write([ResponsesError.message(error, stream: lane)]) }
  }

  private func enqueue(_ message: SocketMessage) throws(CentaurError) {
    guard !isTooOld else { throw tooOld }
    if let name = message.lane, lanes[name] == nil, lanes.keys.count(where: { $0 != nil }) >= limits.streams {
      throw CentaurError(
        .socketStreams, "A WebSocket may have \(limits.streams) named streams.", parameter: "stream_id")
    }
    guard waiting.count < limits.waiting, waiting.size + message.size <= messageLimit else {
      throw CentaurError(
        .socketQueue, "\(waiting.count) requests wait on this WebSocket already. Send this one when they are answered.",
        retryAfter: .seconds(1))
    }
    waiting = (waiting.count + 1, waiting.size + message.size)
    lanes[message.lane, default: Lane()].waiting.append(message)
    begin(message.lane)
  }

  private func begin(_ name: String?) {
    guard lanes[name]?.isAnswering == false else { return }
    lanes[name]?.isAnswering = true
    guard answering < limits.responses else { return ready.append(name) }
    answering += 1
    worker.yield(.answer(lane: name))
  }

  /// None where the client has left: it knows of no answer to what waits, and sends that again where it still wants it.
  private func next(_ name: String?) -> SocketMessage? {
    guard !client.hasLeft, let first = lanes[name]?.waiting.first else { return nil }
    lanes[name]?.waiting.removeFirst()
    waiting = (waiting.count - 1, waiting.size - first.size)
    return first
  }

  /// Answers the requests of a stream as long as there are any.
  private func answer(_ name: String?) async {
    while let message = next(name) { await answer(message) }
    lanes[name]?.isAnswering = false
    answering -= 1
    if !ready.isEmpty {
      answering += 1
      worker.yield(.answer(lane: ready.removeFirst()))
    }
    if isTooOld, answering == 0 { await end() }
  }

  private func growOld() async {
    guard (try? await Task.sleep(for: limits.age)) != nil else { return }
    isTooOld = true
    if answering == 0 { await end() }
  }

  private func end() async {
    try? await write([ResponsesError.message(tooOld)])
    worker.yield(.end(.goingAway("The connection is as old as it may become.")))
  }

  private var tooOld: CentaurError {
    CentaurError(
      .socketAge,
      "This WebSocket is as old as it may become, \(limits.age.components.seconds) seconds. Connect anew to go on.")
  }

  // MARK: A request

  private func answer(_ message: SocketMessage) async {
    let lane = message.lane
    let previous = message.body["previous_response_id"]?.string
    do {
      guard !isTooOld else { throw Told(tooOld) }
      try await caller.check()
      let isWarmUp = message.body["generate"]?.bool == false
      // Warm-ups that continue one another are one request in the end.
      let size = message.size + (previous.map { memory.size(of: $0) } ?? 0)
      guard size <= messageLimit else {
        throw CentaurError(.bodyTooLarge, "The warm-ups that this continues are too large together with it.")
      }
      let request = try await request(message, previous, isWarmUp: isWarmUp)
      let admission =
        isWarmUp
        ? try reception.warmUp(request, headers: headers)
        : try await reception.admit(
          request, headers: headers, caller: caller, client: client, previous: previous)
      switch admission {
      case .side(let events, let response):
        let known: SocketMemory.Known =
          isWarmUp
          ? .warmUp(input: request.input, previous: request.body["previous_response_id"]?.string) : .response
        memory.remember(response["id"]?.string ?? "", known, lane: lane, size: isWarmUp ? size : 0)
        try await write(events.map { $0.message(stream: lane) })
      case .turn(let turn, let answer):
        try await answer.untilBegun()
        memory.remember(turn.reply.wireID, .response, lane: lane)
        try await answer.deliver(as: { $0.message(stream: lane) }, to: write)
      }
    } catch is ClientLeft {
    } catch is CutShort {
      // Its client sees a cut, and comes back.
      worker.yield(.end(await reception.controlPlane.isShuttingDown ? .restart : .failed))
    } catch {
      if let previous { memory.evict(previous, lane: lane) }
      try? await write(refused(error, stream: lane))
    }
  }

  /// An error that every client is told as such: its client reads the code.
  private struct Told: Error {
    let error: CentaurError
    init(_ error: CentaurError) { self.error = error }
  }

  private func refused(_ error: any Error, stream: String?) -> [ByteBuffer] {
    if let told = error as? Told { return [ResponsesError.message(told.error, stream: stream)] }
    return switch reception.refusal(error, isCodex: headers.areCodex, logger: logger) {
    case .status(let error, let status): [ResponsesError.message(error, status, stream: stream)]
    case .stream(let events): events.map { $0.message(stream: stream) }
    }
  }

  /// The request that a message is: what it continues resolved, and a warm-up's input before its own.
  private func request(
    _ message: SocketMessage, _ previous: String?, isWarmUp: Bool
  ) async throws -> ResponsesRequest {
    let fields = BodyFields(message.body)
    try fields.bool("generate")
    if message.body["background"]?.bool == true {
      throw CentaurError(
        .unsupported, "A WebSocket has no background responses: each goes on when its socket ends.",
        parameter: "background")
    }
    guard let previous else { return try ResponsesRequest(message.body, needsInput: !isWarmUp) }
    switch memory[previous] {
    case nil:
      guard try await reception.isKept(previous, of: caller.owner) else {
        throw Told(
          CentaurError(
            .previousResponseNotFound, "There is no response with the id '\(previous.prefix(128))' on this WebSocket.",
            parameter: "previous_response_id"))
      }
      return try ResponsesRequest(message.body, needsInput: !isWarmUp)
    case .response?: return try ResponsesRequest(message.body, needsInput: !isWarmUp)
    case .warmUp(let input, let before)?:
      let own = try ResponsesRequest(message.body, needsInput: false)
      var body = message.body.object ?? JSONObject()
      body["input"] = .array(input + own.input)
      body["previous_response_id"] = before.map(JSONValue.string)
      return try ResponsesRequest(.object(body), needsInput: !isWarmUp)
    }
  }
}
