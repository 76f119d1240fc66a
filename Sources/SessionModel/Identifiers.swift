/// A session's own id: the name under which the log, the workspace and the spool know it. Never shown as a thread key.
public struct SessionID: Sendable, Hashable, Codable, CustomStringConvertible {
  public let rawValue: String
  public init(rawValue: String) { self.rawValue = rawValue }
  public var description: String { rawValue }
}

/// One turn of a session. Lower-case hexadecimal, so that wire ids can be built from it (`resp_<execution>_<n>`).
public struct ExecutionID: Sendable, Hashable, Codable, CustomStringConvertible {
  public let rawValue: String
  public init(rawValue: String) { self.rawValue = rawValue }
  public var description: String { rawValue }
}

/// The one place that makes ids: 128 bits, the first 48 of them the time in milliseconds, so that ids sort by age.
public struct IdentifierSource: Sendable {
  private let make: @Sendable () -> String

  public init(_ make: @escaping @Sendable () -> String) { self.make = make }

  /// Ids from the given clock and the system's random numbers.
  public init(milliseconds: @escaping @Sendable () -> UInt64) {
    self.init {
      var generator = SystemRandomNumberGenerator()
      let high = milliseconds() << 16 | UInt64(generator.next() as UInt16)
      return IdentifierSource.hexadecimal(high) + IdentifierSource.hexadecimal(generator.next())
    }
  }

  public func session() -> SessionID { SessionID(rawValue: make()) }
  public func execution() -> ExecutionID { ExecutionID(rawValue: make()) }
  /// An id for a thread key that no client chose.
  public func thread() -> String { make() }

  private static func hexadecimal(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}

/// Whose a session is: a key says it. Where no key was ever made there is one owner, `local`.
public struct Owner: Sendable, Hashable, Codable, CustomStringConvertible {
  public let rawValue: String
  public init(rawValue: String) { self.rawValue = rawValue }
  public var description: String { rawValue }
  /// The server's own: whoever is at its machine.
  public static let local = Owner(rawValue: "local")
}

/// Which agent works in a session's sandbox.
public struct HarnessName: Sendable, Hashable, Codable, CustomStringConvertible {
  public let rawValue: String
  public init(rawValue: String) { self.rawValue = rawValue }
  public var description: String { rawValue }
  public static let codex = HarnessName(rawValue: "codex")
  public static let codexExec = HarnessName(rawValue: "codex-exec")
  public static let claude = HarnessName(rawValue: "claude")
}
