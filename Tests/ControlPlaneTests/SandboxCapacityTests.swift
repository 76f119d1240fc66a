import SessionModel
import Synchronization
import Testing

@testable import ControlPlane

/// The places for sandboxes, by themselves.
struct SandboxCapacityTests {
  private static func id(_ name: String) -> SessionID { SessionID(rawValue: name) }

  @Test("a place that is given back goes to the one who waits the longest")
  func line() async throws {
    let capacity = SandboxCapacity(limit: 1, turns: 10)
    try await capacity.take()
    let order = Record<Int>()
    var waiting: [Task<Void, any Error>] = []
    for number in 0..<3 {
      waiting.append(
        Task {
          try await capacity.take()
          order.add(number)
          capacity.giveBack()
        })
      try await within { while capacity.waiting <= number { await Task.yield() } }
    }
    capacity.giveBack()
    for task in waiting { try await within { try await task.value } }
    #expect(order.all == [0, 1, 2])
    #expect(capacity.taken == 0)
  }

  @Test("one who waits no more leaves the line, and no place is lost")
  func cancel() async throws {
    let capacity = SandboxCapacity(limit: 1, turns: 10)
    try await capacity.take()
    let first = Task { try await capacity.take() }
    try await within { while capacity.waiting < 1 { await Task.yield() } }
    let second = Task { try await capacity.take() }
    try await within { while capacity.waiting < 2 { await Task.yield() } }
    first.cancel()
    await #expect(throws: CancellationError.self) { try await within { try await first.value } }
    capacity.giveBack()
    try await within { try await second.value }
    #expect(capacity.taken == 1)
    capacity.giveBack()
    #expect(capacity.taken == 0)
    let late = Task {
      withUnsafeCurrentTask { $0?.cancel() }
      try await capacity.take()
    }
    await #expect(throws: CancellationError.self) { try await within { try await late.value } }
    #expect(capacity.taken == 0)
  }

  @Test("whoever waits asks the longest idle process to end; one that is at work again sends the wish on")
  func eviction() async throws {
    let capacity = SandboxCapacity(limit: 3, turns: 10)
    for _ in 0..<3 { try await capacity.take() }
    let asked = Record<String>()
    for name in ["a", "b", "c"] {
      capacity.isIdle(Self.id(name)) { asked.add(name) }
    }
    capacity.isBusy(Self.id("a"))
    let waiting = Task { try await capacity.take() }
    try await within { while capacity.waiting < 1 { await Task.yield() } }
    #expect(asked.all == ["b"])
    // It had just been given a turn.
    capacity.staysBusy()
    #expect(asked.all == ["b", "c"])
    capacity.giveBack()
    try await within { try await waiting.value }
    // Where nobody waits nobody is asked.
    capacity.isIdle(Self.id("a")) { asked.add("a again") }
    #expect(asked.all == ["b", "c"])
  }

  @Test("where a server found more sandboxes than it has places, one who waits has as many ended as it takes")
  func adopted() async throws {
    let capacity = SandboxCapacity(limit: 2, turns: 10)
    let asked = Record<String>()
    for name in ["a", "b", "c", "d", "e"] {
      capacity.adopt()
      capacity.isIdle(Self.id(name)) { asked.add(name) }
    }
    #expect(asked.all.isEmpty)
    let waiting = Task { try await capacity.take() }
    try await within { while capacity.waiting < 1 { await Task.yield() } }
    #expect(asked.all == ["a", "b", "c", "d"])
    for _ in 0..<4 { capacity.giveBack() }
    try await within { try await waiting.value }
    #expect(capacity.taken == 2)
    #expect(asked.all.count == 4)
  }

  @Test("a turn that waits for its client gives way only where nothing idle can, and no more once it is at work")
  func holding() async throws {
    let capacity = SandboxCapacity(limit: 2, turns: 10)
    for _ in 0..<2 { try await capacity.take() }
    let asked = Record<String>()
    capacity.isHolding(Self.id("waits")) { asked.add("waits") }
    capacity.isIdle(Self.id("idle")) { asked.add("idle") }
    let first = Task { try await capacity.take() }
    try await within { while capacity.waiting < 1 { await Task.yield() } }
    #expect(asked.all == ["idle"])
    let second = Task { try await capacity.take() }
    try await within { while capacity.waiting < 2 { await Task.yield() } }
    #expect(asked.all == ["idle", "waits"])
    for _ in 0..<2 { capacity.giveBack() }
    for task in [first, second] { try await within { try await task.value } }
    // Its client has answered: nobody ends it.
    capacity.isHolding(Self.id("answered")) { asked.add("answered") }
    capacity.isBusy(Self.id("answered"))
    let third = Task { try await capacity.take() }
    try await within { while capacity.waiting < 1 { await Task.yield() } }
    #expect(asked.all == ["idle", "waits"])
    capacity.giveBack()
    try await within { try await third.value }
  }

  @Test("one that waits for a session gives way before an idle session does, and takes no place that is needed")
  func pool() async throws {
    let capacity = SandboxCapacity(limit: 3, turns: 2)
    let asked = Record<String>()
    try await capacity.take()
    capacity.isIdle(Self.id("a")) { asked.add("a") }
    #expect(capacity.takeForPool(Self.id("p1")) { asked.add("p1") })
    // Neither the idle nor the pooled one is a turn.
    try capacity.promise()
    try capacity.promise()
    #expect(!capacity.takeForPool(Self.id("p2")) { asked.add("p2") })
    capacity.withdraw()
    capacity.withdraw()
    #expect(capacity.takeForPool(Self.id("p2")) { asked.add("p2") })
    #expect(!capacity.takeForPool(Self.id("p3")) { asked.add("p3") })
    // A session has taken it: it may not be asked any more.
    capacity.leavesPool(Self.id("p2"))
    let waiting = (0..<2).map { _ in Task { try await capacity.take() } }
    try await within { while capacity.waiting < 2 { await Task.yield() } }
    #expect(asked.all == ["p1", "a"])
    let freed = Record<String>()
    capacity.whenFree { freed.add("free") }
    capacity.giveBack()
    capacity.giveBack()
    for task in waiting { try await within { try await task.value } }
    #expect(freed.all.isEmpty)
    capacity.giveBack()
    #expect(freed.all == ["free"])
  }

  @Test("a session counts once among the idle ones, however often it says so")
  func idleOnce() async throws {
    let capacity = SandboxCapacity(limit: 2, turns: 2)
    try await capacity.take()
    for _ in 0..<3 { capacity.isIdle(Self.id("a")) {} }
    try capacity.promise()
    try capacity.promise()
    #expect(throws: CentaurError.self) { try capacity.promise() }
    capacity.withdraw()
    try capacity.promise()
  }

  @Test("a turn that was let in counts from that moment on, until it has its place")
  func promises() async throws {
    let capacity = SandboxCapacity(limit: 1, turns: 2)
    try capacity.promise()
    try capacity.promise()
    let error = #expect(throws: CentaurError.self) { try capacity.promise() }
    #expect(error?.code == .tooManyTurns)
    try await capacity.take(promised: true)
    #expect(throws: CentaurError.self) { try capacity.promise() }
    capacity.giveBack()
    try capacity.promise()
  }
}

/// What happened, in order.
private final class Record<T: Sendable>: Sendable {
  private let values = Mutex<[T]>([])
  func add(_ value: T) { values.withLock { $0.append(value) } }
  var all: [T] { values.withLock { $0 } }
}
