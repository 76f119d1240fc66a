import SessionModel
import Synchronization

/// The tries of requests that their clients may send again: each from the moment in which it is taken until its answer
/// was told to the end.
///
/// A retry is owed the answer that its client was waiting for. Where several ask the same at the same time the log cannot
/// tell whose that is; this can. What was told to a first try is forgotten at once. So an answer that this server began
/// and that is not here has been told; one that an earlier server began may not have been.
///
/// Concurrency: one lock around the tries, held for a few assignments and for a look over the tries of one name, never
/// across an await.
final class RequestTries: Sendable {
  struct ID: Sendable, Hashable {
    var name: String
    /// In the order in which they came.
    var number: UInt64
  }

  fileprivate enum Standing: Hashable {
    /// It is not known yet what becomes of it.
    case taken
    /// The answer of this wire id is being told.
    case answered(String)
    /// Its client went away before that answer was told.
    case brokenOff(String)
    /// The same, and the turn ends with its client.
    case ended(String)
    /// A retry was told the answer.
    case told(String)
    /// It was not done, and its client was asked to come back.
    case refused

    var answer: String? {
      switch self {
      case .answered(let id), .brokenOff(let id), .ended(let id), .told(let id): id
      case .taken, .refused: nil
      }
    }
  }

  fileprivate struct Try {
    /// Before this one; nil: its client does not count, and is known again by a name of its own.
    var retries: Int?
    var endsWithClient: Bool
    var standing = Standing.taken
    let begun = ContinuousClock.now

    var isSettled: Bool {
      switch standing {
      case .taken, .answered: false
      case .brokenOff, .ended, .told, .refused: true
      }
    }
  }

  private struct State {
    var tries: [String: [UInt64: Try]] = [:]
    var count = 0
    var newest: UInt64 = 0
    /// Who waits until it is known what becomes of a try.
    var waiting: [UInt64: [CheckedContinuation<Bool, Never>]] = [:]

    mutating func remove(_ id: ID) {
      guard tries[id.name]?.removeValue(forKey: id.number) != nil else { return }
      count -= 1
      if tries[id.name]?.isEmpty == true { tries[id.name] = nil }
    }

    /// The older half of those that nobody answers any more.
    mutating func forgetOldest() {
      let settled = tries.flatMap { name, tries in
        tries.filter(\.value.isSettled).keys.map { ID(name: name, number: $0) }
      }
      for id in settled.sorted(by: { $0.number < $1.number }).prefix((settled.count + 1) / 2) { remove(id) }
    }
  }

  /// How many are remembered, a few hundred bytes each. Those that are being answered are not forgotten.
  private let limit: Int
  /// Answers that are older were begun by an earlier server.
  private let start: Timestamp
  private let state = Mutex(State())

  init(since start: Timestamp, limit: Int = 10_000) {
    self.start = start
    self.limit = limit
  }

  /// - Parameters:
  ///   - retries: how many tries came before it; nil where its client does not count
  ///   - endsWithClient: its turn is ended when its client goes away
  func begin(_ name: String, retries: Int?, endsWithClient: Bool) -> RequestTry {
    let id = state.withLock { state in
      if state.count >= limit { state.forgetOldest() }
      state.newest += 1
      state.count += 1
      state.tries[name, default: [:]][state.newest] = Try(retries: retries, endsWithClient: endsWithClient)
      return ID(name: name, number: state.newest)
    }
    return RequestTry(id, of: self)
  }

  /// Those that are remembered.
  var count: Int { state.withLock { $0.count } }

  func isRemembered(_ id: ID) -> Bool { state.withLock { $0.tries[id.name]?[id.number] != nil } }

  /// Returns when it is known what becomes of all tries of the name that came before this one.
  func settled(before id: ID) async {
    var isSettled = false
    while !isSettled {
      isSettled = await withCheckedContinuation { (waits: CheckedContinuation<Bool, Never>) in
        let isSettled = state.withLock { state in
          let earlier = state.tries[id.name]?.first { $0.key < id.number && $0.value.standing == .taken }
          guard let earlier else { return true }
          state.waiting[earlier.key, default: []].append(waits)
          return false
        }
        if isSettled { waits.resume(returning: true) }
      }
    }
  }

  /// Returns when it is known whose client waits no more, where several are being answered of whom each may have sent this
  /// retry: the end of a connection may be read after what its client sends on another one. Not later than `patience`
  /// after the retry came: a proxy may hold a connection that its client has left.
  func parted(before id: ID, patience: Duration = .seconds(1)) async {
    guard let begun = state.withLock({ $0.tries[id.name]?[id.number]?.begun }) else { return }
    while mayBeOfSeveral(id), ContinuousClock.now < begun + patience {
      guard (try? await Task.sleep(for: .milliseconds(10))) != nil else { return }
    }
  }

  private func mayBeOfSeveral(_ id: ID) -> Bool {
    state.withLock { state in
      guard let tries = state.tries[id.name], let retries = tries[id.number]?.retries else { return false }
      let earlier = tries.filter { $0.key < id.number && $0.value.retries ?? 0 < retries }
      return earlier.count > 1
        && earlier.values.allSatisfy { if case .answered = $0.standing { true } else { false } }
    }
  }

  /// The answer that a retry is owed; from then on it is being told to it.
  /// - Parameter answers: all that there are of its name, newest first
  /// - Returns: nil where it was never begun
  func answer(for id: ID, among answers: [NamedAnswer]) -> NamedAnswer? {
    state.withLock { state in
      guard let tries = state.tries[id.name], let retries = tries[id.number]?.retries else { return nil }
      var newest: [String: (number: UInt64, one: Try)] = [:]
      for (number, one) in tries {
        guard let answer = one.standing.answer, newest[answer]?.number ?? 0 < number else { continue }
        newest[answer] = (number, one)
      }
      func claim(_ answer: NamedAnswer) -> Claim? {
        guard let (number, newest) = newest[answer.wireID] else {
          guard answer.createdAt < start else { return .told }
          return answer.isOver ? .open : .owed
        }
        // One that came later, or that another client's retry has taken, is not this client's.
        guard number < id.number, newest.retries ?? 0 < retries else { return nil }
        return switch newest.standing {
        case .brokenOff: .owed
        case .told: .told
        case .ended: nil
        case .answered, .taken, .refused: .open
        }
      }
      // The first of equals is the newest.
      let best = answers.compactMap { answer in claim(answer).map { (answer, $0) } }.min { $0.1 < $1.1 }
      let refused = tries.first { number, one in
        number < id.number && one.standing == .refused && one.retries ?? 0 < retries
      }
      if let refused, best?.1 != .owed {
        state.remove(ID(name: id.name, number: refused.key))
        return nil
      }
      if let best { state.tries[id.name]?[id.number]?.standing = .answered(best.0.wireID) }
      return best?.0
    }
  }

  /// How surely a client still waits for an answer, the surest first.
  private enum Claim: Comparable {
    case owed
    case open
    case told
  }

  /// - Parameter change: what becomes of the try; nil: it is forgotten
  fileprivate func set(_ id: ID, _ change: (Try) -> Standing?) {
    let waiting = state.withLock { state -> [CheckedContinuation<Bool, Never>] in
      guard let old = state.tries[id.name]?[id.number] else { return [] }
      if let new = change(old), old.retries != nil {
        state.tries[id.name]?[id.number]?.standing = new
      } else {
        state.remove(id)
      }
      return state.waiting.removeValue(forKey: id.number) ?? []
    }
    for waiting in waiting { waiting.resume(returning: false) }
  }
}

/// One try of a request that its client may send again. Whoever answers it holds it; what is let go of without `isTold`
/// has not been told.
public final class RequestTry: Sendable {
  let id: RequestTries.ID
  private let tries: RequestTries

  fileprivate init(_ id: RequestTries.ID, of tries: RequestTries) {
    self.id = id
    self.tries = tries
  }

  /// Its answer is the one of this wire id.
  func isAnswered(by wireID: String) { tries.set(id) { _ in .answered(wireID) } }

  /// It was not done.
  /// - Parameter comesBack: its client was asked to
  func isRefused(comesBack: Bool) {
    tries.set(id) { old in
      // A retry that had found its answer is still owed it.
      if let answer = old.standing.answer { .brokenOff(answer) } else { comesBack ? .refused : nil }
    }
  }

  /// All of the answer was written to its client.
  public func isTold() {
    tries.set(id) { old in old.retries ?? 0 > 0 ? old.standing.answer.map { .told($0) } : nil }
  }

  deinit {
    tries.set(id) { old in
      switch old.standing {
      case .taken: nil
      case .answered(let answer): old.endsWithClient ? .ended(answer) : .brokenOff(answer)
      case .brokenOff, .ended, .told, .refused: old.standing
      }
    }
  }
}
