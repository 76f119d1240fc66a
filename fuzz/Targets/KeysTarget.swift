import HTTPTypes

@testable import CentaurServer
@testable import ModelGateway

/// What is shown or kept as a key. Behind the letter `a` the header `Authorization`, behind `x` the header `x-api-key`,
/// behind `b` both, with a newline between; behind `f` a file that holds a provider's key.
enum KeysTarget {
  static func check(_ input: [UInt8]) throws {
    let rest = input.dropFirst()
    switch input.first {
    case UInt8(ascii: "a"): try headers(rest, [])
    case UInt8(ascii: "x"): try headers([], rest)
    case UInt8(ascii: "b"):
      let end = rest.firstIndex(of: 0x0A) ?? rest.endIndex
      try headers(rest[..<end], rest[end...].dropFirst())
    case UInt8(ascii: "f"): try file(rest)
    default: return
    }
  }

  /// Whoever shows a secret of ours is known by it and by nothing else; the rest is a placeholder, or nothing.
  private static func headers(_ authorization: ArraySlice<UInt8>, _ apiKey: ArraySlice<UInt8>) throws {
    var fields = HTTPFields()
    if !authorization.isEmpty { fields[.authorization] = String(decoding: authorization, as: UTF8.self) }
    if !apiKey.isEmpty, let name = HTTPField.Name("x-api-key") {
      fields[name] = String(decoding: apiKey, as: UTF8.self)
    }
    let sent = fields.map(\.value)
    switch ShownKey(fields) {
    case .none:
      try require(!sent.contains { isSecret($0[...]) }, "a key that nobody saw")
    case .foreign:
      // A scheme of another kind may hold anything.
      try require(!apiKey.isEmpty && !isSecret(trimmed(sent.last ?? "")) || apiKey.isEmpty, "a key that was not known")
      try require(!isSecret(trimmed(bearer(sent.first ?? ""))), "a bearer that was not known")
    case .secret(let secret):
      try require(isSecret(secret.text[...]), "a secret that cannot be one")
      try require(sent.contains { $0.contains(secret.text) }, "a secret that nobody sent")
      try require(
        KeySecret(secret.text)?.digest == secret.digest && secret.digest.bytes.count == 32, "a digest of another secret"
      )
    }
  }

  private static func bearer(_ value: String) -> Substring {
    value.lowercased().hasPrefix("bearer ") ? value.dropFirst("bearer ".count) : ""
  }

  private static func trimmed(_ value: some StringProtocol) -> Substring {
    var value = Substring(value)
    while value.utf8.first == 0x20 { value.removeFirst() }
    while value.utf8.last == 0x20 { value.removeLast() }
    return value
  }

  private static func isSecret(_ text: Substring) -> Bool {
    let bytes = Array(text.utf8)
    return bytes.count == 59 && bytes.starts(with: Array("centaur_sk_".utf8))
      && bytes.dropFirst(11).allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
  }

  /// What goes into a header of a model call.
  private static func file(_ bytes: ArraySlice<UInt8>) throws {
    guard let key = ProviderKey.key(in: bytes) else { return }
    try require(!key.isEmpty && key.utf8.allSatisfy { (0x21...0x7E).contains($0) }, "a key that breaks a header")
    try require(bytes.starts(with: Array(key.utf8)), "a key that the file does not begin with")
    try require([nil, 0x0A, 0x0D].contains(bytes.dropFirst(key.utf8.count).first), "half a key")
  }
}
