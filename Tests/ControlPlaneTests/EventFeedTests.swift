import FoundationEssentials
import SQLiteStore
import SessionModel
import Synchronization
import Testing

@testable import ControlPlane

/// The live end of a log: each reader gets each event once and in order, wherever it begins and however slow it is.
struct EventFeedTests {
  /// A session's log, and the feed that a drive would keep of it.
  private struct Log: Sendable {
    let store: SQLiteStore
    let session: SessionID
    let token: FencingToken
    let feed: EventFeed

    /// - Parameter count: events that were there before the feed.
    static func with(_ count: Int, _ body: @Sendable (Log) async throws -> Void) async throws {
      let data = "/tmp/centaur-feed-\(UInt32.random(in: 0 ... .max))"
      try FileManager.default.createDirectory(atPath: data, withIntermediateDirectories: true)
      defer { try? FileManager.default.removeItem(atPath: data) }
      let store = try SQLiteStore(path: "\(data)/store.sqlite", durability: .normal)
      let now = WallClock.system.now
      let session = Session(
        id: SessionID(rawValue: "s"), owner: .local, key: try ThreadKey("test:a"), harness: World.scripted,
        persona: nil,
        instructions: nil, createdAt: now)
      let created = try await store.commit(
        SessionCommit(
          session: session.id, creation: .init(session: session, holder: "n", leaseUntil: now), token: nil, time: now,
          events: events(count)))
      let feed = EventFeed(sessionID: session.id, head: Int64(count), store: store)
      try await body(Log(store: store, session: session.id, token: created.token, feed: feed))
    }

    private static func events(_ count: Int) -> [EventDraft] {
      (0..<count).map { EventDraft(.warning(code: "test", message: "\($0)")) }
    }

    func append(_ count: Int) async throws { try await append(Self.events(count)) }

    /// As a drive does it: first to the store, then to the feed.
    func append(_ events: [EventDraft]) async throws {
      let result = try await store.commit(
        SessionCommit(session: session, token: token, time: WallClock.system.now, events: events))
      feed.publish(result.events)
    }

    /// Reads from `after` to the event `upTo`.
    func read(after: Int64, upTo: Int64) async throws -> [Int64] {
      let events = feed.subscribe(after: after)
      return try await within {
        var seqs: [Int64] = []
        for try await batch in events {
          seqs += batch.map(\.seq)
          if seqs.last ?? 0 >= upTo { break }
        }
        return seqs
      }
    }
  }

  @Test("a reader from the beginning gets the past from the store and then what comes")
  func fromTheBeginning() async throws {
    try await Log.with(1200) { log in
      let reader = Task { try await log.read(after: 0, upTo: 1210) }
      for _ in 0..<10 { try await log.append(1) }
      #expect(try await reader.value == Array(1...1210))
    }
  }

  @Test("a reader begins where it wants to: in the past, in the tail, at the head")
  func places() async throws {
    try await Log.with(10) { log in
      try await log.append(20)
      #expect(try await log.read(after: 5, upTo: 30) == Array(6...30))
      #expect(try await log.read(after: 10, upTo: 30) == Array(11...30))
      #expect(try await log.read(after: 17, upTo: 30) == Array(18...30))
      let reader = Task { try await log.read(after: 30, upTo: 32) }
      try await log.append(1)
      try await log.append(1)
      #expect(try await reader.value == [31, 32])
    }
  }

  @Test("a reader that begins beyond the head gets what comes after that place only")
  func beyondTheHead() async throws {
    try await Log.with(10) { log in
      let reader = Task { try await log.read(after: 15, upTo: 16) }
      for _ in 0..<8 { try await log.append(1) }
      let seqs = try await reader.value
      #expect(seqs.first == 16)
      #expect(seqs == Array(16...(seqs.last ?? 0)))
    }
  }

  @Test("a reader that is slower than the tail is long misses nothing", arguments: [1, 7, 300, 700])
  func slow(_ size: Int) async throws {
    try await Log.with(1) { log in
      var reader = log.feed.subscribe(after: 0).makeAsyncIterator()
      var seqs = try await reader.next()?.map(\.seq) ?? []
      var head: Int64 = 1
      for _ in 0..<5 {
        while head < Int64(seqs.count) + 1500 {
          try await log.append(size)
          head += Int64(size)
        }
        // It takes one batch and falls behind again.
        seqs += try await reader.next()?.map(\.seq) ?? []
      }
      while let last = seqs.last, last < head { seqs += try await reader.next()?.map(\.seq) ?? [] }
      #expect(seqs == Array(1...head))
    }
  }

  @Test("readers beside a busy writer each get everything once")
  func many() async throws {
    try await Log.with(100) { log in
      let readers = (0..<10).map { number in
        Task { try await log.read(after: Int64(number * 10), upTo: 3100) }
      }
      for size in [1, 2, 500, 3, 600, 1, 893, 1000] { try await log.append(size) }
      for (number, reader) in readers.enumerated() {
        #expect(try await reader.value == Array(Int64(number * 10 + 1)...3100))
      }
    }
  }

  @Test("a session whose events are large does not keep many of them in memory, and its readers miss nothing")
  func large() async throws {
    try await Log.with(1) { log in
      let text = String(repeating: "x", count: 3 << 20)
      for _ in 0..<6 {
        try await log.append([EventDraft(.messageAppended(.said(text)))])
        #expect(log.feed.held.bytes <= 2 * EventFeed.tailSize)
      }
      try await log.append([EventDraft(.messageAppended(.said(text + text + text)))])
      #expect(log.feed.held.events == 0)
      try await log.append(3)
      #expect(log.feed.held.events == 3)
      #expect(try await log.read(after: 0, upTo: 11) == Array(1...11))
    }
  }

  @Test("when the feed is closed its readers end, after they have read all")
  func close() async throws {
    try await Log.with(700) { log in
      var behind = log.feed.subscribe(after: 0).makeAsyncIterator()
      let waiting = Task {
        var reader = log.feed.subscribe(after: 700).makeAsyncIterator()
        return try await reader.next()
      }
      log.feed.close()
      let end = try await within { try await waiting.value }
      #expect(end == nil)
      var seqs: [Int64] = []
      while let batch = try await behind.next() { seqs += batch.map(\.seq) }
      #expect(seqs == Array(1...700))
    }
  }

  @Test("a reader whose task is cancelled ends")
  func cancel() async throws {
    try await Log.with(1) { log in
      let waiting = Task {
        var reader = log.feed.subscribe(after: 1).makeAsyncIterator()
        return try await reader.next()
      }
      waiting.cancel()
      let end = try await within { try await waiting.value }
      #expect(end == nil)
    }
  }

  @Test("a reader that wants to know is told when nothing comes, and goes on")
  func quiet() async throws {
    try await Log.with(3) { log in
      let events = log.feed.subscribe(after: 0)
      let sizes = try await within {
        var sizes: [Int] = []
        try await events.read(quietAfter: .milliseconds(10), wakes: { _ in }) { batch in
          sizes.append(batch.count)
          if sizes.count == 3 { try await log.append(2) }
          return sizes.count < 4
        }
        return sizes
      }
      #expect(sizes.prefix(3) == [3, 0, 0])
      #expect(sizes.last == 2)
    }
  }

  @Test("a reader is woken while it waits, and a wake that comes while it works is not lost")
  func wakes() async throws {
    try await Log.with(3) { log in
      let events = log.feed.subscribe(after: 0)
      let sizes = try await within {
        let wake = Mutex<(@Sendable () -> Void)?>(nil)
        var sizes: [Int] = []
        try await events.read(quietAfter: .seconds(3600), wakes: { closure in wake.withLock { $0 = closure } }) {
          batch in
          sizes.append(batch.count)
          if sizes.count == 1 { wake.withLock { $0 }?() }
          if sizes.count == 2 {
            let closure = wake.withLock { $0 }
            Task { closure?() }
          }
          return sizes.count < 3
        }
        return sizes
      }
      #expect(sizes == [3, 0, 0])
    }
  }

  @Test("a reader may stop when it has enough")
  func enough() async throws {
    try await Log.with(3) { log in
      let events = log.feed.subscribe(after: 0)
      let count = try await within {
        var count = 0
        try await events.read(quietAfter: .seconds(3600), wakes: { _ in }) { batch in
          count += batch.count
          return false
        }
        return count
      }
      #expect(count == 3)
    }
  }
}
