/// A moment: milliseconds since 1970-01-01T00:00:00Z.
public struct Timestamp: Sendable, Hashable, Comparable {
  public var milliseconds: Int64
  public init(milliseconds: Int64) { self.milliseconds = milliseconds }

  /// Whole seconds since 1970, as both model APIs write times.
  public var seconds: Int64 { milliseconds / 1000 }

  public static func < (left: Timestamp, right: Timestamp) -> Bool { left.milliseconds < right.milliseconds }

  public static func + (moment: Timestamp, duration: Duration) -> Timestamp {
    Timestamp(milliseconds: moment.milliseconds + duration.milliseconds)
  }
}

/// The one clock: what time it is, for whoever must write it down. Folds never ask.
public struct WallClock: Sendable {
  private let read: @Sendable () -> Timestamp
  public init(_ read: @escaping @Sendable () -> Timestamp) { self.read = read }
  public var now: Timestamp { read() }
}

extension Duration {
  /// Whole milliseconds, rounded down.
  public var milliseconds: Int64 {
    components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000
  }
}
