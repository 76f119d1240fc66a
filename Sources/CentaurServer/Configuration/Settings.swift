import FoundationEssentials

extension ServerConfiguration {
  /// The defaults, then the configuration file, then the environment, then options; the later one wins.
  /// - Throws: `ConfigurationError`
  public init(file: String?, listen: String?, data: String?, environment: [String: String]) throws {
    self.init()
    if let file = file ?? environment["CENTAUR_CONFIG"] {
      guard let bytes = FileManager.default.contents(atPath: file) else {
        throw ConfigurationError("the configuration file \(file) cannot be read")
      }
      try read(yaml: String(decoding: bytes, as: UTF8.self), name: file)
    }
    if let text = listen ?? environment["CENTAUR_LISTEN"] {
      guard let address = Address(text) else {
        throw ConfigurationError("the address to listen on must be HOST:PORT, not '\(text)'")
      }
      self.listen = address
    }
    if let data = data ?? environment["CENTAUR_DATA"] { self.data = data }
  }
}
