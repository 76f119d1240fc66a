import FoundationEssentials

extension HarnessMachine {
  /// The machine as bytes, for the server that goes on with its harness.
  public var saved: [UInt8] { get throws { [UInt8](try JSONEncoder().encode(self)) } }

  /// The machine that `saved` gave.
  /// - Throws: `DecodingError` where another version saved it in a form that this one does not know
  public init(saved: [UInt8]) throws { self = try JSONDecoder().decode(Self.self, from: Data(saved)) }
}
