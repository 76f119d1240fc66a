public import ControlPlane
public import HTTPTypes
public import Hummingbird
public import NIOCore
public import SessionModel

/// A dialect's fold over a turn's events, for as long as one answer needs it: a pure value, so that a replay gives the
/// bytes that the live stream gave.
public protocol TurnTranslator: Sendable {
  associatedtype Event: WireEvent
  /// What is written before anything has happened.
  mutating func start() -> [Event]
  /// What an event becomes; nothing for an event of another turn, and nothing after the turn's end.
  mutating func fold(_ event: SessionEvent) -> [Event]
  /// Keeps a quiet stream alive and changes nothing. Not part of the fold.
  var keepAlive: Event { get }
  /// The turn's end was folded.
  var isFinished: Bool { get }
}

/// One event of a dialect's stream.
public protocol WireEvent: Sendable {
  /// It as a server-sent event, to be written at once.
  var frame: ByteBuffer { get }
}

/// The answer to one request: the turn's events, folded, as a stream or as one body.
public struct TurnAnswer<Translator: TurnTranslator>: Sendable {
  private let admitted: AdmittedTurn
  private let controlPlane: ControlPlane
  private let translator: Translator
  private let client: ClientPresence
  private let keepAlive: Duration
  private let cancelsOnDisconnect: Bool

  /// - Parameters:
  ///   - translator: at its beginning
  ///   - keepAlive: how long a stream may be silent
  public init(
    _ admitted: AdmittedTurn, controlPlane: ControlPlane, translator: Translator, client: ClientPresence,
    keepAlive: Duration, cancelsOnDisconnect: Bool
  ) {
    self.admitted = admitted
    self.controlPlane = controlPlane
    self.translator = translator
    self.client = client
    self.keepAlive = keepAlive
    self.cancelsOnDisconnect = cancelsOnDisconnect
  }

  /// The session's key, for the answer's head.
  public var headers: HTTPFields {
    var headers = HTTPFields()
    if let name = HTTPField.Name("X-Centaur-Thread-Key") { headers[name] = admitted.session.key.headerValue }
    return headers
  }

  /// How long a client is left without an answer that has begun.
  private static var longestWait: Duration { .seconds(120) }

  /// Waits while the turn stands in line for a sandbox. One that gets none is told with a status: every client knows to
  /// come back from that, and from the middle of a stream some do not. After a while the answer begins none the less.
  /// - Throws: `CentaurError` with `noFreeSandbox`, `ClientLeft`
  public func untilBegun() async throws {
    guard admitted.waitsForPlace else { return }
    let id = admitted.execution.id
    try await follow(quietAfter: Self.longestWait) { batch in
      for event in batch where event.executionID == id {
        switch event.payload {
        case .messageAppended, .executionQueued, .warning: continue
        case .executionFailed(let failure, _) where failure.code == CentaurError.Code.noFreeSandbox.rawValue:
          throw CentaurError(failure)
        default: return false
        }
      }
      return !batch.isEmpty
    }
  }

  /// Headers and the first frames leave at once.
  /// - Parameter closing: what follows the turn's last frame
  public func stream(headers more: HTTPFields = [:], closing: ByteBuffer? = nil) -> Response {
    EventStream.response(headers: headers + more) { writer in
      try await deliver(as: \.frame, closing: closing) { try await writer.write(contentsOf: $0) }
    }
  }

  /// Writes the turn's events as they come, those that come together together.
  /// - Parameters:
  ///   - encode: an event as it is written
  ///   - closing: what follows the turn's last frame
  /// - Throws: `CutShort` where the log ends before the turn does, `ClientLeft`, and what `write` throws
  public func deliver(
    as encode: (Translator.Event) -> ByteBuffer, closing: ByteBuffer? = nil,
    to write: ([ByteBuffer]) async throws -> Void
  ) async throws {
    var translator = translator
    var frames = FrameBatch()
    // None where the client has seen them.
    try await frames.add(translator.start().map(encode), write)
    try await frames.flush(write)
    try await follow(quietAfter: keepAlive) { batch in
      if batch.isEmpty { try await frames.add([encode(translator.keepAlive)], write) }
      for event in batch { try await frames.add(translator.fold(event).map(encode), write) }
      if translator.isFinished, let closing { try await frames.add([closing], write) }
      try await frames.flush(write)
      return !translator.isFinished
    }
    // The log's tail ended before the turn did: the server is going down, or its store takes no more. The client sees
    // a cut, and comes back.
    guard translator.isFinished else { throw CutShort() }
  }

  /// The fold of the whole turn, when that has ended.
  /// - Throws: `CentaurError` with `shuttingDown`, `storeUnavailable`, `ClientLeft`
  public func whole() async throws -> Translator {
    let translator = try await folded()
    guard translator.isFinished else {
      // The same request finds the turn again, by its session's log.
      guard await controlPlane.isShuttingDown else {
        throw CentaurError.storeRefused("The turn's log could not be written on. Try again shortly.")
      }
      throw CentaurError.shuttingDown
    }
    return translator
  }

  /// The fold of the turn's events to its end, or to theirs.
  /// - Throws: `ClientLeft`
  public func folded() async throws -> Translator {
    var translator = translator
    _ = translator.start()
    try await follow(quietAfter: keepAlive) { batch in
      for event in batch { _ = translator.fold(event) }
      return !translator.isFinished
    }
    return translator
  }

  /// Reads the turn's events until `body` has enough or the client goes away. Then the turn goes on, unless the client
  /// had asked otherwise.
  private func follow(quietAfter: Duration, _ body: ([SessionEvent]) async throws -> Bool) async throws {
    var watch: ClientPresence.Watch?
    defer { if let watch { client.forget(watch) } }
    do {
      try await admitted.events.read(quietAfter: quietAfter, wakes: { watch = client.onLeave($0) }) { batch in
        guard !client.hasLeft else { throw ClientLeft() }
        return try await body(batch)
      }
    } catch {
      if cancelsOnDisconnect, client.hasLeft { await controlPlane.cancel(admitted, reason: "client_disconnected") }
      throw error
    }
  }
}

/// The answer could not be told to its end.
public struct CutShort: Error {
  init() {}
}

/// Nobody is there to read the answer.
public struct ClientLeft: Error {
  public init() {}
}
