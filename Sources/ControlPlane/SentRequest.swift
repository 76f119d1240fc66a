import Crypto
public import SessionModel

/// A request as it was sent: whoever sends it again by itself sends the same.
public struct SentRequest: Sendable, Hashable {
  /// Of all that it says, and of whose it is.
  let digest: String
  /// How often its client has tried before, where the client counts its tries.
  let retries: Int?

  /// - Parameters:
  ///   - said: what it says beside its body, in an order of its own
  ///   - body: as it came
  public init(owner: Owner, said: [String], body: UnsafeRawBufferPointer, retries: Int?) {
    var hash = Self.hash(["request", owner.rawValue] + said)
    hash.update(bufferPointer: body)
    digest = Self.hexadecimal(hash)
    self.retries = retries
  }

  /// Short, of any texts.
  static func digest(_ texts: [String]) -> String { hexadecimal(hash(texts)) }

  private static func hash(_ texts: [String]) -> SHA256 {
    var hash = SHA256()
    // With their lengths, so that nobody can say one thing in the words of another.
    for text in texts { hash.update(data: Array("\(text.utf8.count) \(text)\n".utf8)) }
    return hash
  }

  /// Half of it is enough, and is what a store has to look for.
  private static func hexadecimal(_ hash: SHA256) -> String { hash.finalize().prefix(16).hexadecimal }
}
