import AsyncHTTPClient

extension HTTPClient.Configuration {
  /// Where nobody listens that is said at once. By default a client tries again for as long as a call may take.
  static var refusedAtOnce: Self {
    var configuration = Self()
    configuration.connectionPool.retryConnectionEstablishment = false
    return configuration
  }
}
