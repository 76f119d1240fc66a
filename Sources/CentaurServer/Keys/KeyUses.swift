import ControlPlane
import Ingress
import NIOCore
import SessionModel
import Synchronization

/// What the keys do on this server: how much each asks, when it was used last, and by which connections.
///
/// Concurrency: one lock, held for a few assignments, never across an await. Connections say themselves that they are
/// gone.
final class KeyUses: Sendable {
  private struct Use {
    var requests: RequestBucket
    var turns: TurnAllowance
  }

  private struct State {
    var uses: [AccessKey.ID: Use] = [:]
    /// When each was used, where that is not in the store yet.
    var moments: [AccessKey.ID: Timestamp] = [:]
    /// Each connection by the key of its newest request: of HTTP/1 that is the one whose answer is written, if any. Nil:
    /// it came while there were no keys.
    var connections: [ObjectIdentifier: (channel: any Channel, key: AccessKey.ID?)] = [:]
    var hasSeenKeys = false
  }

  private let limits: ServerConfiguration.Limits
  private let clock: WallClock
  private let now: @Sendable () -> ContinuousClock.Instant
  private let state = Mutex(State())

  /// - Parameters:
  ///   - limits: for keys that have none of their own
  ///   - now: by which requests a minute are counted
  init(
    limits: ServerConfiguration.Limits, clock: WallClock,
    now: @escaping @Sendable () -> ContinuousClock.Instant = { .now }
  ) {
    self.now = now
    self.limits = limits
    self.clock = clock
  }

  /// Whether the store was seen to have keys. It never has none again.
  var hasSeenKeys: Bool { state.withLock { $0.hasSeenKeys } }

  func seeKeys() { state.withLock { $0.hasSeenKeys = true } }

  /// Counts a request, and remembers its connection.
  /// - Throws: `CentaurError` with `keyRequestLimit`
  func enter(
    _ key: AccessKey, by channel: any Channel, isWelcome: @escaping @Sendable () async throws -> Void
  ) throws(CentaurError) -> Caller {
    remember(channel, key.id)
    let turns = try count(key)
    return Caller(
      owner: key.owner, allowance: turns, count: { () throws(CentaurError) in _ = try self.count(key) },
      isWelcome: isWelcome)
  }

  /// Remembers a connection that comes while nobody is asked for a key.
  func enterWithoutKey(by channel: any Channel) { remember(channel, nil) }

  private func remember(_ channel: any Channel, _ key: AccessKey.ID?) {
    let connection = ObjectIdentifier(channel)
    let isNew = state.withLock { $0.connections.updateValue((channel, key), forKey: connection) == nil }
    if isNew { channel.closeFuture.whenComplete { _ in self.leave(connection) } }
  }

  private func count(_ key: AccessKey) throws(CentaurError) -> TurnAllowance {
    let limit = key.requests ?? limits.keyRequests
    let now = now()
    let moment = clock.now
    let (turns, wait) = state.withLock { state -> (TurnAllowance, Duration?) in
      var use =
        state.uses[key.id]
        ?? Use(
          requests: RequestBucket(limit: limit, now: now), turns: TurnAllowance(limit: key.turns ?? limits.keyTurns))
      let wait = use.requests.take(now: now)
      state.uses[key.id] = use
      state.moments[key.id] = moment
      return (use.turns, wait)
    }
    guard let wait else { return turns }
    throw CentaurError(
      .keyRequestLimit, "This key may ask \(limit) times a minute, and has. Try again shortly.",
      // Whole seconds are told, and rounded down: a client that believes them must not come too early.
      retryAfter: .seconds(wait.components.seconds + 1))
  }

  private func leave(_ connection: ObjectIdentifier) {
    state.withLock { _ = $0.connections.removeValue(forKey: connection) }
  }

  var hasConnectionsWithKey: Bool { state.withLock { $0.connections.values.contains { $0.key != nil } } }
  var hasConnectionsWithoutKey: Bool { state.withLock { $0.connections.values.contains { $0.key == nil } } }

  /// Cuts what is being told to whoever came with one of these keys.
  func cut(_ keys: Set<AccessKey.ID>) {
    state.withLock { state in for key in keys { state.uses[key] = nil } }
    cut { $0.map(keys.contains) ?? false }
  }

  /// Cuts what is being told to whoever came before there were keys.
  func cutWithoutKey() { cut { $0 == nil } }

  private func cut(where isMeant: (AccessKey.ID?) -> Bool) {
    let channels = state.withLock { state in state.connections.values.filter { isMeant($0.key) }.map(\.channel) }
    for channel in channels { channel.close(promise: nil) }
  }

  /// The moments that the store does not know, once.
  func takeMoments() -> [AccessKey.ID: Timestamp] {
    state.withLock { state in
      defer { state.moments = [:] }
      return state.moments
    }
  }
}
