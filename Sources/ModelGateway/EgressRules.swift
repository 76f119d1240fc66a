public import SessionModel

/// Where a sandbox may connect beside its model, by name.
public struct EgressRules: Sendable, Hashable {
  /// `pypi.org`, `*.debian.org` (its sub-domains, not itself), `host:8443`; without a port 443 and 80.
  public struct Entry: Sendable, Hashable {
    public let text: String
    let name: EgressName
    let isWildcard: Bool
    let port: Int?

    public init?(_ text: String) {
      var host = text[...]
      if let colon = text.lastIndex(of: ":") {
        guard let port = Self.port(text[text.index(after: colon)...]) else { return nil }
        self.port = port
        host = text[..<colon]
      } else {
        port = nil
      }
      isWildcard = host.hasPrefix("*.")
      guard let name = EgressName(String(isWildcard ? host.dropFirst(2) : host)) else { return nil }
      self.name = name
      self.text = text
    }

    static func port(_ text: some StringProtocol) -> Int? {
      guard !text.isEmpty, text.utf8.count <= 5, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
        let port = Int(text), (1...65535).contains(port)
      else { return nil }
      return port
    }

    func matches(_ host: EgressName, port: Int) -> Bool {
      let isPort = self.port.map { $0 == port } ?? (port == 443 || port == 80)
      return isPort && (isWildcard ? host.text.hasSuffix(".\(name.text)") : host == name)
    }
  }

  public var allow: [Entry]
  /// Addresses that count as public: for an operator's own services.
  public var addresses: [EgressNetwork]
  /// Names that are not looked up.
  public var names: [EgressName: [EgressAddress]]
  /// A sandbox's connections at one time.
  public var connections: Int
  /// How long neither side of a connection may be heard of.
  public var idle: Duration

  public init(
    allow: [Entry], addresses: [EgressNetwork] = [], names: [EgressName: [EgressAddress]] = [:],
    connections: Int = 64, idle: Duration = .seconds(300)
  ) {
    self.allow = allow
    self.addresses = addresses
    self.names = names
    self.connections = connections
    self.idle = idle
  }

  func allows(_ host: EgressName, port: Int) -> Bool { allow.contains { $0.matches(host, port: port) } }

  /// The first of a name's addresses, if none of them is forbidden: a name that is one public host and one inside is a
  /// trap (DNS rebinding), not a mistake.
  func choose(_ found: [EgressAddress]) -> EgressAddress? {
    guard found.allSatisfy({ address in address.isPublic || addresses.contains { $0.contains(address) } }) else {
      return nil
    }
    return found.first
  }
}

/// A host's name in one form: lower case, without the root's dot, ASCII, and never an address in any spelling.
public struct EgressName: Sendable, Hashable {
  public let text: String

  public init?(_ text: String) {
    var name = text.lowercased()
    if name.hasSuffix(".") { name.removeLast() }
    guard !name.isEmpty, name.utf8.count <= 253, text.utf8.allSatisfy({ $0 < 0x80 }) else { return nil }
    let labels = name.split(separator: ".", omittingEmptySubsequences: false)
    for label in labels {
      guard !label.isEmpty, label.utf8.count <= 63, !label.hasPrefix("-"), !label.hasSuffix("-"),
        label.utf8.allSatisfy({ byte in
          (0x61...0x7A).contains(byte) || (0x30...0x39).contains(byte) || byte == 0x2D || byte == 0x5F
        })
      else { return nil }
    }
    // `127.1`, `2130706433`, `0x7f.1`, `017700000001`: whatever ends in a number is read as an address somewhere.
    guard let last = labels.last, !last.utf8.allSatisfy({ (0x30...0x39).contains($0) }), !last.hasPrefix("0x") else {
      return nil
    }
    self.text = name
  }
}

extension EgressRules {
  public var json: JSONValue {
    let names = names.sorted { $0.key.text < $1.key.text }.map { name, addresses in
      (key: name.text, value: JSONValue.array(addresses.map { .string($0.description) }))
    }
    return [
      "allow": .array(allow.map { .string($0.text) }), "addresses": .array(addresses.map { .string($0.description) }),
      "names": .object(JSONObject(names)), "connections": JSONValue(connections), "idle_ms": .int(idle.milliseconds),
    ]
  }

  public init?(json: JSONValue) {
    guard let allow = json["allow"]?.array, let addresses = json["addresses"]?.array,
      let names = json["names"]?.object, let connections = json["connections"]?.int, let idle = json["idle_ms"]?.int
    else { return nil }
    self.init(
      allow: allow.compactMap { $0.string.flatMap(Entry.init) },
      addresses: addresses.compactMap { $0.string.flatMap(EgressNetwork.init) }, connections: connections,
      idle: .milliseconds(idle))
    for member in names.members {
      guard let name = EgressName(member.key) else { return nil }
      self.names[name] = member.value.array?.compactMap { $0.string.flatMap(EgressAddress.init) } ?? []
    }
  }
}
