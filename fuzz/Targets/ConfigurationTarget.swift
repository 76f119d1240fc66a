import CentaurServer

/// Any text as a configuration file.
enum ConfigurationTarget {
  static func check(_ input: [UInt8]) throws {
    var configuration = ServerConfiguration()
    do {
      try configuration.read(yaml: String(decoding: input, as: UTF8.self), name: "centaur.yaml")
    } catch is ConfigurationError {
      return
    }
  }
}
