public import ControlPlane
public import SessionModel

/// Who asks: found out once, before a request comes to its route.
public struct Caller: Sendable {
  /// Whose sessions, answers and files the request may name; for it there are no others.
  public let owner: Owner
  /// How many turns whoever asks may have open; nil: any number.
  public let allowance: TurnAllowance?
  private let count: @Sendable () throws(CentaurError) -> Void
  private let isWelcome: @Sendable () async throws -> Void

  /// The server's own owner, where nobody is asked for a key.
  public static let local = Caller(owner: .local, allowance: nil, count: {}, isWelcome: {})

  /// - Parameter isWelcome: throws once whoever asks is let in no more
  public init(
    owner: Owner, allowance: TurnAllowance?, count: @escaping @Sendable () throws(CentaurError) -> Void,
    isWelcome: @escaping @Sendable () async throws -> Void
  ) {
    self.owner = owner
    self.allowance = allowance
    self.count = count
    self.isWelcome = isWelcome
  }

  /// Counts one more request of a connection that brings many, where HTTP sees one.
  /// - Throws: `CentaurError` with `keyRequestLimit`
  public func countRequest() throws(CentaurError) { try count() }

  /// Whether a connection that brings many requests may still bring one: it was let in when it began.
  /// - Throws: `CentaurError` with `keyMissing`, `keyRefused`, `storeUnavailable`
  public func check() async throws { try await isWelcome() }
}
