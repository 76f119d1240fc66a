import ControlPlane
import SessionModel
import Synchronization

extension Message {
  /// What a user says; `id` is the client's own.
  static func said(_ text: String, _ id: String? = nil) -> Message { Message(parts: [.text(text)], clientID: id) }
}

extension TurnRequest {
  /// A request as a CLI sends it, which names its turns and its messages, or as a program does, which names nothing.
  static func cli(_ input: [Message], key: String, turn: String) throws -> TurnRequest {
    TurnRequest(
      owner: .local, session: .key(try ThreadKey(key)), client: .cli, turnKey: turn, input: input, origin: "test",
      replyPrefix: "resp",
      echo: .null)
  }

  static func sdk(_ text: String, key: String) throws -> TurnRequest {
    TurnRequest(
      owner: .local, session: .key(try ThreadKey(key)), client: .sdk, input: [.said(text)], origin: "test",
      replyPrefix: "resp",
      echo: .null)
  }

  func with(_ change: (inout TurnRequest) -> Void) -> TurnRequest {
    var request = self
    change(&request)
    return request
  }
}

extension World {
  /// Sends a request to the world's first server.
  func submit(_ request: TurnRequest) async throws -> AdmittedTurn {
    try await within { try await controlPlane.submit(request) }
  }

  /// Runs a turn to its end.
  func run(_ text: String, key: String) async throws -> [SessionEvent] {
    try await submit(.sdk(text, key: key)).finished()
  }
}

extension AdmittedTurn {
  /// The turn's own events, its terminal one last.
  /// - Throws: `NoEnd` where the stream of events ended before the turn did
  func finished() async throws -> [SessionEvent] {
    let id = execution.id
    let events = events
    return try await within {
      var own: [SessionEvent] = []
      for try await batch in events {
        for event in batch where event.executionID == id {
          own.append(event)
          if event.payload.isTerminal { return own }
        }
      }
      throw NoEnd()
    }
  }
}

struct NoEnd: Error {}

extension [SessionEvent] {
  /// The texts of the messages that the agent closed, in order.
  var texts: [String] {
    compactMap { event in
      guard case .itemCompleted(let item) = event.payload, case .message(let message) = item.content else { return nil }
      return message.text
    }
  }

  /// How turns ended, in order: `completed`, `cancelled (reason)` or `failed (code)`.
  var ends: [String] {
    compactMap { event in
      switch event.payload {
      case .executionCompleted: "completed"
      case .executionCancelled(let reason, _): "cancelled (\(reason))"
      case .executionFailed(let failure, _): "failed (\(failure.code))"
      default: nil
      }
    }
  }

  /// The ends of one turn.
  func ends(of turn: AdmittedTurn) -> [String] { filter { $0.executionID == turn.execution.id }.ends }

  /// The turns that were given to the harness, in that order.
  var started: [ExecutionID] {
    compactMap { if case .executionStarted = $0.payload { $0.executionID } else { nil } }
  }

  /// How the session's sandboxes came to be.
  var sandboxes: [SandboxReady.Origin] {
    compactMap { if case .sandboxReady(let ready) = $0.payload { ready.origin } else { nil } }
  }

  /// A reader can tell that it missed nothing.
  var isDense: Bool { enumerated().allSatisfy { $0.element.seq == Int64($0.offset + 1) } }
}

extension EventPayload {
  /// The agent has said this.
  func isMessage(_ text: String) -> Bool {
    guard case .itemCompleted(let item) = self, case .message(let message) = item.content else { return false }
    return message.text == text
  }

  /// The agent runs a command.
  var isCommandStart: Bool {
    guard case .itemStarted(let item) = self, case .command = item.content else { return false }
    return true
  }

  func isCommandStart(_ command: String) -> Bool {
    guard case .itemStarted(let item) = self, case .command(let started) = item.content else { return false }
    return started.command == command
  }

  var isItemStart: Bool { if case .itemStarted = self { true } else { false } }
  var isItemEnd: Bool { if case .itemCompleted = self { true } else { false } }
  var isReattached: Bool { if case .sandboxReattached = self { true } else { false } }
  var isSandboxStop: Bool { if case .sandboxStopped = self { true } else { false } }
  var isQueued: Bool { if case .executionQueued = self { true } else { false } }
}

// MARK: Waiting

/// Runs `body`, and gives up after a time that no healthy run comes near: what hangs is to fail, not to hang the suite.
func within<T: Sendable>(
  _ limit: Duration = .seconds(300), _ body: @escaping @Sendable () async throws -> T
) async throws -> T {
  let outcome = Outcome<T>()
  let work = Task {
    do { outcome.settle(.success(try await body())) } catch { outcome.settle(.failure(error)) }
  }
  let clock = Task {
    try await Task.sleep(for: limit)
    outcome.settle(.failure(Hangs()))
  }
  defer {
    work.cancel()
    clock.cancel()
  }
  return try await outcome.value
}

struct Hangs: Error {}

/// The first of several results; for one reader.
private final class Outcome<T: Sendable>: Sendable {
  private struct State {
    var result: Result<T, any Error>?
    var reader: CheckedContinuation<T, any Error>?
  }

  private let state = Mutex(State())

  func settle(_ result: Result<T, any Error>) {
    let reader = state.withLock { state -> CheckedContinuation<T, any Error>? in
      guard state.result == nil else { return nil }
      state.result = result
      return state.reader
    }
    reader?.resume(with: result)
  }

  var value: T {
    get async throws {
      try await withCheckedThrowingContinuation { reader in
        let result = state.withLock { state in
          state.reader = reader
          return state.result
        }
        if let result { reader.resume(with: result) }
      }
    }
  }
}
