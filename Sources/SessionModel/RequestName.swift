/// By what a request is known again when its client sends it once more.
public struct RequestName: Sendable, Hashable, Codable {
  /// The same for each try of one request, and another one for every owner.
  public var value: String
  /// Of all that the request says, its owner included.
  public var digest: String

  public init(value: String, digest: String) {
    self.value = value
    self.digest = digest
  }
}

/// An answer that was begun for a request of some name, and whose turn came to no bad end.
public struct NamedAnswer: Sendable, Hashable {
  public let wireID: String
  public let sessionID: SessionID
  public let executionID: ExecutionID
  public let createdAt: Timestamp
  /// Its turn is over.
  public let isOver: Bool

  public init(wireID: String, sessionID: SessionID, executionID: ExecutionID, createdAt: Timestamp, isOver: Bool) {
    self.wireID = wireID
    self.sessionID = sessionID
    self.executionID = executionID
    self.createdAt = createdAt
    self.isOver = isOver
  }
}

/// Answers by what was asked.
///
/// All methods throw `CentaurError` with `storeUnavailable` and `storeCorrupt`, as those of `SessionStore`.
public protocol NamedAnswerStore: Sendable {
  /// The newest answer to a request of this name, however its turn went.
  func reply(owner: Owner, requestName: String) async throws -> Reply?
  /// The answers to requests of this name, newest first, whose turns are not over, or were answered since `endedSince`.
  /// Turns that failed or were cancelled are not among them.
  func answers(owner: Owner, requestName: String, endedSince: Timestamp) async throws -> [NamedAnswer]
}
