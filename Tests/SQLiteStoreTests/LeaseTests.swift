import SessionModel
import Testing

@testable import SQLiteStore

/// Two servers that drive one session would run its turns twice: the store lets only the newest holder write.
struct LeaseTests {
  private let file: StoreFile
  private let store: SQLiteStore
  private let session = SessionID(rawValue: "s")

  init() throws {
    file = try StoreFile()
    store = try file.open()
  }

  /// Whether a step with this token is taken; where it is refused, nothing of it is written.
  private func writes(_ token: FencingToken?) async throws -> Bool {
    let before = try file.contents()
    let refusal = await code { _ = try await store.commit(.step("s", token, .note("x"), .queued("e"))) }
    let after = try file.contents()
    if let refusal {
      #expect(refusal == .leaseLost)
      #expect(before == after)
    } else {
      #expect(before != after)
    }
    return refusal == nil
  }

  @Test("who creates a session may write to it, and nobody without a right may")
  func creator() async throws {
    let token = try await store.commit(.create("s")).token
    #expect(token.epoch == 1)
    #expect(try await writes(nil) == false)
    #expect(try await writes(FencingToken(epoch: 0)) == false)
    #expect(try await writes(FencingToken(epoch: 2)) == false)
    #expect(try await writes(token))
  }

  @Test("another server is refused while the lease runs, and the holder does not notice")
  func running() async throws {
    let token = try await store.commit(.create("s", holder: "one")).token
    let before = try file.contents()
    #expect(
      await code {
        _ = try await store.acquireLease(session, holder: "two", now: .noon, until: .far) { _ in false }
      } == .sessionElsewhere)
    #expect(try file.contents() == before)
    #expect(try await writes(token))
  }

  @Test("a lease that has run out is taken, and the stale server can write nothing any more")
  func expired() async throws {
    let old = try await store.commit(.create("s", holder: "one", until: .past)).token
    let new = try await store.acquireLease(session, holder: "two", now: .noon, until: .far) { _ in false }
    #expect(new.epoch == old.epoch + 1)
    #expect(try await writes(old) == false)
    #expect(try await writes(new))
  }

  @Test("a holder that is known to be dead is evicted at once")
  func evicting() async throws {
    let old = try await store.commit(.create("s", holder: "one")).token
    let new = try await store.acquireLease(session, holder: "two", now: .noon, until: .far) { _ in true }
    #expect(try await writes(old) == false)
    #expect(try await writes(new))
  }

  @Test("a server that takes its own lease again has shut its earlier self out")
  func again() async throws {
    let old = try await store.commit(.create("s", holder: "one")).token
    let new = try await store.acquireLease(session, holder: "one", now: .noon, until: .far) { _ in false }
    #expect(old < new)
    #expect(try await writes(old) == false)
    #expect(try await writes(new))
  }

  @Test("a renewed lease keeps others out, one of another holder is not renewed with it")
  func renewed() async throws {
    let token = try await store.commit(.create("s", holder: "one", until: .past)).token
    _ = try await store.commit(.create("t", holder: "three", until: .past))
    let other = SessionID(rawValue: "t")
    #expect(try await store.renewLeases(of: [session, other], holder: "one", until: .far) == [session: token])
    #expect(
      await code {
        _ = try await store.acquireLease(session, holder: "two", now: .noon, until: .far) { _ in false }
      } == .sessionElsewhere)
    #expect(try await writes(token))
    #expect(try await store.acquireLease(other, holder: "two", now: .noon, until: .far) { _ in false }.epoch == 2)
  }

  @Test("a lease on a session that its server does not look after any more runs out")
  func forgotten() async throws {
    let held = try await store.commit(.create("s", holder: "one", until: .past)).token
    let left = try await store.commit(.create("t", holder: "one", until: .past)).token
    #expect(try await store.renewLeases(of: [session], holder: "one", until: .far) == [session: held])
    #expect(try await store.renewLeases(of: [], holder: "one", until: .far).isEmpty)
    let other = SessionID(rawValue: "t")
    let taken = try await store.acquireLease(other, holder: "two", now: .noon, until: .far) { _ in false }
    #expect(left < taken)
  }

  @Test("a lease that was given back is free for the next server")
  func released() async throws {
    let old = try await store.commit(.create("s", holder: "one")).token
    try await store.releaseLease(session, token: old)
    let new = try await store.acquireLease(session, holder: "two", now: .noon, until: .far) { _ in false }
    #expect(try await writes(old) == false)
    #expect(try await writes(new))
  }

  @Test("a stale server that gives its lease back takes nothing from the newer one")
  func releasedTooLate() async throws {
    let old = try await store.commit(.create("s", holder: "one", until: .past)).token
    let new = try await store.acquireLease(session, holder: "two", now: .noon, until: .far) { _ in false }
    try await store.releaseLease(session, token: old)
    #expect(
      await code {
        _ = try await store.acquireLease(session, holder: "three", now: .noon, until: .far) { _ in false }
      } == .sessionElsewhere)
    #expect(try await writes(new))
  }

  @Test("of many servers that reach for a free lease at once each writes with a right of its own")
  func contended() async throws {
    let first = try await store.commit(.create("s", until: .past)).token
    let tokens = try await withThrowingTaskGroup(of: FencingToken.self) { group in
      for number in 0..<20 {
        group.addTask {
          try await store.acquireLease(session, holder: "server \(number)", now: .noon, until: .far) { _ in true }
        }
      }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    #expect(tokens.map(\.epoch).sorted() == (1...20).map { first.epoch + $0 })
    for token in tokens.sorted().dropLast() { #expect(try await writes(token) == false) }
    #expect(try await writes(tokens.max()))
  }

  @Test("there is no lease of a session that does not exist")
  func unknownSession() async {
    #expect(
      await code {
        _ = try await store.acquireLease(session, holder: "one", now: .noon, until: .far) { _ in true }
      } == .sessionNotFound)
    #expect(
      await code { _ = try await store.commit(.step("s", FencingToken(epoch: 1), .note("x"))) } == .sessionNotFound)
  }
}
