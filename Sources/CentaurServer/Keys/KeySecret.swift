import Crypto
import HTTPTypes
import SessionModel

/// The secret of a key: `centaur_sk_` and 192 random bits as 48 lower-case hexadecimal digits, a form that scanners for
/// secrets can be told (`\bcentaur_sk_[0-9a-f]{48}\b`).
struct KeySecret: Sendable {
  static let prefix = "centaur_sk_"
  private static let digits = 48

  /// Shown once, to whoever makes the key.
  let text: String

  /// A new one.
  init() {
    var generator = SystemRandomNumberGenerator()
    let bytes = (0..<Self.digits / 2).map { _ in UInt8.random(in: 0...255, using: &generator) }
    text = Self.prefix + bytes.hexadecimal
  }

  /// One that somebody shows; nil where it cannot be one.
  init?(_ text: some StringProtocol) {
    let digits = text.utf8.dropFirst(Self.prefix.utf8.count)
    guard text.hasPrefix(Self.prefix), digits.count == Self.digits,
      digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || (0x61...0x66).contains($0) })
    else { return nil }
    self.text = String(text)
  }

  var digest: KeyDigest { KeyDigest(bytes: Array(SHA256.hash(data: Array(text.utf8)))) }
}

/// What a request shows to be let in.
enum ShownKey: Sendable {
  case none
  /// Something that cannot be a key of ours, such as the placeholder that clients want for one.
  case foreign
  case secret(KeySecret)

  /// `Authorization: Bearer` or `x-api-key`. A client may send both, of which one is for somebody else: the first that can
  /// be ours counts.
  init(_ headers: HTTPFields) {
    let bearer = headers[.authorization].flatMap { value -> Substring? in
      let scheme = "bearer "
      guard value.prefix(scheme.count).lowercased() == scheme else { return nil }
      return value.dropFirst(scheme.count)
    }
    let shown = [bearer, headers[.apiKey].map { $0[...] }].compactMap { $0?.trimmed }.filter { !$0.isEmpty }
    if let secret = shown.lazy.compactMap({ KeySecret($0) }).first {
      self = .secret(secret)
    } else {
      self = shown.isEmpty ? .none : .foreign
    }
  }
}

extension Substring {
  fileprivate var trimmed: Substring {
    var text = self
    while text.first == " " { text.removeFirst() }
    while text.last == " " { text.removeLast() }
    return text
  }
}

extension HTTPField.Name {
  fileprivate static let apiKey = Self("x-api-key")!
}
