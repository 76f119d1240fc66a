import SessionModel

/// What a harness calls the client's tools: their own names, but for those that a harness has itself (its own would win)
/// and those that are too long for it.
///
/// A name follows from the client's alone: a conversation that was begun with some tools goes on with fewer of them.
struct ClientToolNames: Codable {
  private let reserved: Set<String>
  /// Not there in what an older version saved.
  private let reservedPrefix: String?
  private let limit: Int
  /// The tools by the harness's names.
  private var tools: [String: ClientTool] = [:]
  /// The harness's names in the client's order.
  private(set) var names: [String] = []

  /// - Parameters:
  ///   - reserved: names that the harness has itself
  ///   - reservedPrefix: how names begin that the harness keeps for itself
  ///   - limit: how long a name may be, in characters; not under 40
  init(_ tools: [ClientTool], reserved: Set<String> = [], reservedPrefix: String? = nil, limit: Int) {
    self.reserved = reserved
    self.reservedPrefix = reservedPrefix
    self.limit = limit
    for tool in tools {
      let name = name(of: tool.name)
      // Two names of a client can come to the same only by its will; the first has it.
      if self.tools.updateValue(self.tools[name] ?? tool, forKey: name) == nil { names.append(name) }
    }
  }

  func name(of client: String) -> String {
    let isReserved = reserved.contains(client) || reservedPrefix.map(client.hasPrefix) == true
    let name = isReserved ? "client_\(client)" : client
    guard name.count > limit else { return name }
    return "\(name.prefix(limit - 37))_\(DerivedUUID.of(name))"
  }

  /// The tool that the harness calls so.
  func tool(_ name: String) -> ClientTool? { tools[name] }

  /// The tools as `describe` writes one, by the harness's names.
  func described(_ describe: (_ name: String, ClientTool) -> JSONValue) -> [JSONValue] {
    names.compactMap { name in tools[name].map { describe(name, $0) } }
  }
}

extension ClientTool {
  /// Tells whether a tool is still the same.
  var digest: String { DerivedUUID.of(json.text) }
}
