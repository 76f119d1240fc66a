import Glibc

extension ServerConfiguration {
  /// A key that every agent can read is none.
  /// - Throws: `ConfigurationError`
  func validateKeyFiles() throws {
    guard sandbox == .bubblewrap else { return }
    for name in providers.keys.sorted() {
      guard let file = providers[name]?.apiKeyFile else { continue }
      for directory in ["/usr"] + sandboxPaths where Self.resolved(file).starts(with: Self.resolved(directory)) {
        throw ConfigurationError(
          "the 'api_key_file' of provider '\(name)' lies in \(directory), which every sandbox may read; move it")
      }
    }
  }

  /// The names along a path, without links as far as it is there.
  private static func resolved(_ path: String) -> [String] {
    var names = path.split(separator: "/").map(String.init)
    var rest: [String] = []
    while !names.isEmpty {
      if let real = realpath("/" + names.joined(separator: "/"), nil) {
        defer { free(real) }
        return String(cString: real).split(separator: "/").map(String.init) + rest
      }
      rest.insert(names.removeLast(), at: 0)
    }
    return rest
  }
}
