public import ControlPlane
public import SessionModel

/// Who asks: found out once, before a request comes to its route.
public struct Caller: Sendable {
  /// Whose sessions, answers and files the request may name; for it there are no others.
  public let owner: Owner
  /// How many turns whoever asks may have open; nil: any number.
  public let allowance: TurnAllowance?
  private let count: @Sendable () throws(CentaurError) -> Void

  /// The server's own owner, where nobody is asked for a key.
  public static let local = Caller(owner: .local, allowance: nil, count: {})

  public init(
    owner: Owner, allowance: TurnAllowance?, count: @escaping @Sendable () throws(CentaurError) -> Void
  ) {
    self.owner = owner
    self.allowance = allowance
    self.count = count
  }

  /// Counts one more request of a connection that brings many, where HTTP sees one.
  /// - Throws: `CentaurError` with `keyRequestLimit`
  public func countRequest() throws(CentaurError) { try count() }
}
