public import SessionModel
import Synchronization

/// The live end of one session's log: the newest events in memory, and a bell for those who wait for more.
///
/// Who does what: the session's drive loop publishes, after the commit; subscribers each hold a cursor of their own and
/// pull. One who keeps up reads from memory, one who does not reads from the store: a slow reader costs no memory. The
/// lock is held for a copy of array slices, never across an await.
public final class EventFeed: Sendable {
  fileprivate struct State {
    /// The newest events, dense; the first has `seq` `head - tail.count + 1`.
    var tail: [SessionEvent] = []
    /// About how much the tail holds, in bytes.
    var size = 0
    var head: Int64
    var waiters: [UInt64: CheckedContinuation<Void, Never>] = [:]
    /// Readers that may be woken, and whether they were while they did not wait: then their next wait is none.
    var wakes: [UInt64: Bool] = [:]
    var nextWaiter: UInt64 = 0
    var subscribers = 0
    var isClosed = false

    /// Leaves the newest events only, as many as may stay: none, where the newest is too large by itself.
    mutating func trim() {
      var first = tail.endIndex
      var kept = 0
      while first > 0, tail.endIndex - first < EventFeed.tailLength {
        let size = tail[first - 1].payload.size
        guard kept + size <= EventFeed.tailSize else { break }
        kept += size
        first -= 1
      }
      tail.removeFirst(first)
      size = kept
    }

    mutating func takeWaiters() -> [CheckedContinuation<Void, Never>] {
      let taken = Array(waiters.values)
      waiters = [:]
      return taken
    }
  }

  /// How many events, and about how many bytes, stay in memory for those who keep up.
  static let tailLength = 256
  static let tailSize = 4 << 20

  private let state: Mutex<State>
  private let sessionID: SessionID
  private let store: any SessionStore
  private let total: SubscriberCount?

  /// - Parameter total: counts the readers of all sessions
  init(sessionID: SessionID, head: Int64, store: any SessionStore, total: SubscriberCount? = nil) {
    self.total = total
    self.sessionID = sessionID
    self.store = store
    state = Mutex(State(head: head))
  }

  /// Makes committed events visible.
  func publish(_ events: [SessionEvent]) {
    guard let last = events.last else { return }
    let waiters = state.withLock { state in
      state.tail.append(contentsOf: events)
      state.size += events.reduce(0) { $0 + $1.payload.size }
      // Trimmed at twice the length or size so that each event is moved about once.
      if state.tail.count > 2 * Self.tailLength || state.size > 2 * Self.tailSize { state.trim() }
      state.head = last.seq
      return state.takeWaiters()
    }
    for waiter in waiters { waiter.resume() }
  }

  /// No more events will be published by this server; subscribers that have read all end.
  func close() {
    let waiters = state.withLock { state in
      state.isClosed = true
      return state.takeWaiters()
    }
    for waiter in waiters { waiter.resume() }
  }

  var head: Int64 { state.withLock { $0.head } }

  /// Whether anybody reads here, waiting or at work with what he has read.
  var hasSubscribers: Bool { state.withLock { $0.subscribers > 0 } }

  /// What is in memory.
  var held: (events: Int, bytes: Int) { state.withLock { ($0.tail.count, $0.size) } }

  /// All events after `after`, those of the past first. Ends when the feed is closed.
  public func subscribe(after: Int64) -> EventSubscription {
    EventSubscription(feed: self, place: SubscriberPlace(self), after: after)
  }

  fileprivate func count(_ change: Int) {
    state.withLock { $0.subscribers += change }
    total?.add(change)
  }

  fileprivate enum Reading {
    case events(ArraySlice<SessionEvent>)
    case inStore
    case none
    case closed
  }

  fileprivate func read(after cursor: Int64) -> Reading {
    state.withLock { state in
      guard cursor < state.head else { return state.isClosed ? .closed : .none }
      let tailStart = state.head - Int64(state.tail.count)
      guard cursor >= tailStart else { return .inStore }
      return .events(state.tail[Int(cursor - tailStart)...])
    }
  }

  fileprivate func page(after cursor: Int64) async throws -> [SessionEvent] {
    try await store.events(sessionID, after: cursor, limit: 500)
  }

  fileprivate func newWaiter() -> UInt64 {
    state.withLock { state in
      state.nextWaiter += 1
      return state.nextWaiter
    }
  }

  /// Wakes a reader if it waits.
  fileprivate func nudge(_ id: UInt64) { state.withLock { $0.waiters.removeValue(forKey: id) }?.resume() }

  fileprivate func allowWakes(_ id: UInt64, _ isAllowed: Bool) {
    state.withLock { $0.wakes[id] = isAllowed ? false : nil }
  }

  /// Wakes a reader that allows it, also out of the next wait that it begins.
  fileprivate func wake(_ id: UInt64) {
    let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
      if let waiter = state.waiters.removeValue(forKey: id) { return waiter }
      if state.wakes[id] != nil { state.wakes[id] = true }
      return nil
    }
    waiter?.resume()
  }

  /// Returns when there may be an event after `cursor`, or on a nudge.
  fileprivate func wait(after cursor: Int64, as id: UInt64) async {
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let isDue = state.withLock { state in
          if state.wakes[id] == true {
            state.wakes[id] = false
            return true
          }
          if state.head > cursor || state.isClosed || Task.isCancelled { return true }
          state.waiters[id] = continuation
          return false
        }
        if isDue { continuation.resume() }
      }
    } onCancel: {
      nudge(id)
    }
  }
}

/// Counts a reader for as long as the subscription, or an iterator of it, is there.
private final class SubscriberPlace: Sendable {
  private let feed: EventFeed

  init(_ feed: EventFeed) {
    self.feed = feed
    feed.count(1)
  }

  deinit { feed.count(-1) }
}

/// One reader's place in a session's log: batches of events in order, each exactly once.
public struct EventSubscription: AsyncSequence, Sendable {
  public typealias Element = [SessionEvent]

  fileprivate let feed: EventFeed
  fileprivate let place: SubscriberPlace
  fileprivate let after: Int64

  public func makeAsyncIterator() -> Iterator {
    Iterator(feed: feed, place: place, waiter: feed.newWaiter(), cursor: after)
  }

  /// Gives all batches to `body` until it returns false, the feed ends or the task is cancelled.
  ///
  /// The batch is empty where nothing came for at most `quietAfter`, so that the reader can tell its client that it is
  /// still there, and where the reader was woken.
  /// - Parameter wakes: is given the way to wake the reader.
  /// - Throws: `CentaurError` of the store, and what `body` throws
  public func read(
    quietAfter: Duration, wakes: (@escaping @Sendable () -> Void) -> Void,
    _ body: ([SessionEvent]) async throws -> Bool
  ) async throws {
    var iterator = makeAsyncIterator()
    iterator.returnsWhenNudged = true
    let waiter = iterator.waiter
    feed.allowWakes(waiter, true)
    defer { feed.allowWakes(waiter, false) }
    wakes { feed.wake(waiter) }
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        while true {
          try await Task.sleep(for: quietAfter)
          feed.nudge(waiter)
        }
      }
      while let batch = try await iterator.next() {
        guard try await body(batch) else { break }
      }
      group.cancelAll()
    }
  }

  public struct Iterator: AsyncIteratorProtocol {
    fileprivate let feed: EventFeed
    fileprivate let place: SubscriberPlace
    fileprivate let waiter: UInt64
    fileprivate var cursor: Int64
    fileprivate var returnsWhenNudged = false

    /// The next events; nil when there will be none, or the task was cancelled.
    /// - Throws: `CentaurError` of the store
    public mutating func next() async throws -> [SessionEvent]? {
      while !Task.isCancelled {
        switch feed.read(after: cursor) {
        case .events(let events): return advance(Array(events))
        case .inStore:
          let page = try await feed.page(after: cursor)
          guard !page.isEmpty else { throw CentaurError(.storeCorrupt, "Events are missing from the session's log.") }
          return advance(page)
        case .none:
          await feed.wait(after: cursor, as: waiter)
          if returnsWhenNudged, !Task.isCancelled, case .none = feed.read(after: cursor) { return [] }
        case .closed: return nil
        }
      }
      return nil
    }

    private mutating func advance(_ events: [SessionEvent]) -> [SessionEvent] {
      if let last = events.last { cursor = last.seq }
      return events
    }
  }
}
