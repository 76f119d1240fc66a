/// So many requests a minute: all of them at once after a quiet minute, else one for each 60 s / limit. A pure value.
struct RequestBucket: Sendable {
  private let limit: Int
  private var left: Double
  private var asOf: ContinuousClock.Instant

  /// - Parameter limit: requests a minute
  init(limit: Int, now: ContinuousClock.Instant) {
    self.limit = limit
    left = Double(limit)
    asOf = now
  }

  /// Counts one request.
  /// - Returns: nil where it is within the limit, else how long it takes until one will be
  mutating func take(now: ContinuousClock.Instant) -> Duration? {
    let perSecond = Double(limit) / 60
    left = min(Double(limit), left + max(.zero, asOf.duration(to: now)) / .seconds(1) * perSecond)
    asOf = now
    // What sums of fractions leave out of a whole one is no reason to refuse it.
    guard left >= 1 - 1e-6 else { return .seconds((1 - left) / perSecond) }
    left -= 1
    return nil
  }
}
