/// The name by which clients know a session: `<source>:<id>`, unique within an owner.
///
/// A value of this type is valid: not empty, with a source before the first `:`, at most 512 bytes, no control
/// characters. Two keys are the same where their bytes are, as in the store: `String` itself would take two spellings of
/// one letter for the same.
public struct ThreadKey: Sendable, Hashable, Codable, CustomStringConvertible {
  public static let maximumBytes = 512

  public let rawValue: String

  /// - Throws: `CentaurError` with `threadKeyTooLong` or `threadKeyMalformed`
  public init(_ text: String) throws(CentaurError) {
    guard text.utf8.count <= Self.maximumBytes else {
      throw CentaurError(
        .threadKeyTooLong, "The thread key has \(text.utf8.count) bytes; at most \(Self.maximumBytes) are allowed.")
    }
    guard let colon = text.firstIndex(of: ":"), colon > text.startIndex, text.index(after: colon) < text.endIndex else {
      throw CentaurError(.threadKeyMalformed, "A thread key has the form <source>:<id>, such as api:my-thread.")
    }
    let hasControl = text.unicodeScalars.contains { scalar in
      scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) || scalar.value == 0x2028 || scalar.value == 0x2029
    }
    guard !hasControl else {
      throw CentaurError(.threadKeyMalformed, "A thread key must not contain control characters.")
    }
    rawValue = text
  }

  public var description: String { rawValue }

  public static func == (left: ThreadKey, right: ThreadKey) -> Bool {
    left.rawValue.utf8.elementsEqual(right.rawValue.utf8)
  }

  public func hash(into hasher: inout Hasher) {
    for byte in rawValue.utf8 { hasher.combine(byte) }
  }
}
