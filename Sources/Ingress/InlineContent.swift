public import SessionModel

/// Images and files whose content is in the request: in Base64, or as `data:` URLs (RFC 2397). No address is ever fetched,
/// and what a harness or its provider could not read is refused before anything is begun.
public enum InlineContent {
  /// What is wrong with one.
  public struct Fault: Error, Hashable {
    public let code: CentaurError.Code
    /// What follows the field's name in a sentence.
    public let predicate: String

    init(_ code: CentaurError.Code, _ predicate: String) {
      self.code = code
      self.predicate = predicate
    }
  }

  /// - Throws: `Fault` with `unsupported` where it is an address, else with `invalidValue`
  public static func check(dataURL url: String) throws(Fault) {
    guard url.hasPrefix("data:") else {
      throw Fault(.unsupported, "must be a data: URL; addresses are never fetched")
    }
    guard let comma = url.utf8.firstIndex(of: UInt8(ascii: ",")) else {
      throw Fault(.invalidValue, "is no data: URL: it has no comma")
    }
    let content = url.utf8[url.utf8.index(after: comma)...]
    guard !content.isEmpty else { throw Fault(.invalidValue, "holds nothing") }
    if url[..<comma].hasSuffix(";base64"), !isBase64(content) { throw Fault(.invalidValue, "is not base64") }
  }

  /// - Throws: `Fault` as for `check(dataURL:)`
  public static func check(imageURL url: String) throws(Fault) {
    try check(dataURL: url)
    guard url.hasPrefix("data:image/") else {
      throw Fault(.invalidValue, "must hold an image: data:image/png;base64,…")
    }
  }

  /// - Throws: `Fault` with `invalidValue`
  public static func check(base64 content: String) throws(Fault) {
    guard !content.isEmpty else { throw Fault(.invalidValue, "holds nothing") }
    guard isBase64(content.utf8[...]) else { throw Fault(.invalidValue, "is not base64") }
  }

  /// Whole Base64 (RFC 4648 §4): no line ends, with its padding.
  private static func isBase64(_ content: Substring.UTF8View) -> Bool {
    content.withContiguousStorageIfAvailable(isBase64) ?? isBase64(Array(content))
  }

  private static func isBase64(_ content: [UInt8]) -> Bool { content.withUnsafeBufferPointer(isBase64) }

  private static func isBase64(_ content: UnsafeBufferPointer<UInt8>) -> Bool {
    var padding = 0
    for byte in content {
      switch byte {
      case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "/"):
        if padding > 0 { return false }
      case UInt8(ascii: "="): padding += 1
      default: return false
      }
    }
    return padding <= 2 && content.count % 4 == 0
  }

  /// Whether a text can stand as the media type of a `data:` URL (RFC 6838 §4.2), so that what follows it is the content.
  public static func isMediaType(_ text: String) -> Bool {
    let names = text.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    return names.count == 2 && names.allSatisfy { (1...127).contains($0.count) && $0.allSatisfy(isOfMediaTypes) }
  }

  private static func isOfMediaTypes(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"):
      true
    default: "!#$&-^_.+".utf8.contains(byte)
    }
  }
}
