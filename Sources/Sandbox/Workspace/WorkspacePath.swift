import Glibc
public import SessionModel

/// The path of a file in a workspace: names, one below the other, none of which leads anywhere else.
public struct WorkspacePath: Sendable, Hashable {
  /// Bytes, as the file system has them. Empty: the workspace itself.
  let names: [[UInt8]]

  /// Reads the end of a URL's path, decoding it once.
  /// - Throws: `CentaurError` with `filePathInvalid`
  public init(percentEncoded text: some StringProtocol) throws(CentaurError) {
    var names: [[UInt8]] = []
    let bytes = Array(text.utf8)
    for part in bytes.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false) where !bytes.isEmpty {
      names.append(try Self.name(try Self.decoded(part)))
    }
    self.names = names
    guard names.reduce(0, { $0 + $1.count + 1 }) < Int(PATH_MAX) else { throw Self.invalid("is too long") }
  }

  /// Reads a path as it is, without any encoding.
  /// - Throws: `CentaurError` with `filePathInvalid`
  init(_ text: String) throws(CentaurError) {
    var names: [[UInt8]] = []
    for part in text.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false) {
      names.append(try Self.name(Array(part)))
    }
    self.names = names
  }

  public var isRoot: Bool { names.isEmpty }

  /// For people; what is not UTF-8 is replaced.
  public var description: String { names.map { String(decoding: $0, as: UTF8.self) }.joined(separator: "/") }

  var parent: ArraySlice<[UInt8]> { names.dropLast() }

  /// As the C library wants it.
  var last: [CChar] { Self.cString(names.last ?? []) }

  static func cString(_ bytes: some Collection<UInt8>) -> [CChar] { bytes.map { CChar(bitPattern: $0) } + [0] }

  /// Several names as one path.
  static func cString(joining names: some Collection<[UInt8]>) -> [CChar] {
    names.isEmpty ? [CChar(0x2E), 0] : cString(names.joined(separator: [UInt8(ascii: "/")]).map { $0 })
  }

  private static func decoded(_ part: ArraySlice<UInt8>) throws(CentaurError) -> [UInt8] {
    var decoded: [UInt8] = []
    var rest = part
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "%") else {
        decoded.append(byte)
        continue
      }
      guard let high = rest.popFirst().flatMap(digit), let low = rest.popFirst().flatMap(digit) else {
        throw invalid("is not percent-encoded")
      }
      decoded.append(high << 4 | low)
    }
    return decoded
  }

  private static func digit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
    default: nil
    }
  }

  private static func name(_ bytes: [UInt8]) throws(CentaurError) -> [UInt8] {
    if bytes.isEmpty { throw invalid("has an empty name in it") }
    if bytes == [0x2E] || bytes == [0x2E, 0x2E] { throw invalid("has '.' or '..' in it") }
    if bytes.contains(0) || bytes.contains(UInt8(ascii: "/")) {
      throw invalid("has a byte in a name that none can have")
    }
    if bytes.count > 255 { throw invalid("has a name that is too long") }
    return bytes
  }

  private static func invalid(_ why: String) -> CentaurError {
    CentaurError(.filePathInvalid, "The file's path \(why).", parameter: "path")
  }
}
