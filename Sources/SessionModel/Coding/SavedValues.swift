/// A value that has a JSON form of its own in the log; as a `Codable` value it is that JSON as text.
///
/// For what is kept inside other encoded values (a harness's state machine): the log's form is the one that is tested
/// and that newer versions go on reading, and a text keeps an object's members in order.
public protocol SavedAsJSON: Codable {
  var json: JSONValue { get }
  /// - Throws: `CentaurError` with `storeCorrupt`
  init(saved json: JSONValue) throws
}

extension SavedAsJSON {
  public init(from decoder: any Decoder) throws {
    try self.init(saved: JSONValue(parsing: decoder.singleValueContainer().decode(String.self)))
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(json.text)
  }
}

extension JSONValue: SavedAsJSON {
  public var json: JSONValue { self }
  public init(saved json: JSONValue) { self = json }
}

extension Item: SavedAsJSON {
  public init(saved json: JSONValue) throws { self = try Self(PayloadReader(kind: "saved.item", json: json)) }
}

extension Item.Content: Codable {
  public init(from decoder: any Decoder) throws { self = try Item(from: decoder).content }

  public func encode(to encoder: any Encoder) throws {
    try Item(ordinal: 0, status: .inProgress, content: self).encode(to: encoder)
  }
}

extension ItemDelta: SavedAsJSON {
  public init(saved json: JSONValue) throws { self = try Self(PayloadReader(kind: "saved.delta", json: json)) }
}

extension Message: SavedAsJSON {
  public init(saved json: JSONValue) throws { self = try Self(PayloadReader(kind: "saved.message", json: json)) }
}

extension TurnOptions: SavedAsJSON {
  public init(saved json: JSONValue) { self.init(json: json) }
}

extension TurnUsage: SavedAsJSON {
  public init(saved json: JSONValue) { self.init(json: json) }
}

extension CentaurError.Code: Codable {
  public init(from decoder: any Decoder) throws {
    self = .named(try decoder.singleValueContainer().decode(String.self))
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(rawValue)
  }
}
