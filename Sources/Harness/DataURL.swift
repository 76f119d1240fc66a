import Foundation

/// The content of a `data:` URL (RFC 2397).
struct DataURL: Sendable {
  let mediaType: String
  let bytes: [UInt8]

  init?(_ url: String) {
    guard url.hasPrefix("data:"), let comma = url.firstIndex(of: ",") else { return nil }
    let header = url[url.index(url.startIndex, offsetBy: 5)..<comma]
    let fields = header.split(separator: ";", omittingEmptySubsequences: false)
    mediaType = fields.first.map(String.init) ?? ""
    let body = String(url[url.index(after: comma)...])
    if fields.last == "base64" {
      guard let data = Data(base64Encoded: body) else { return nil }
      bytes = Array(data)
    } else {
      bytes = Array((body.removingPercentEncoding ?? body).utf8)
    }
  }

  var base64: String { Data(bytes).base64EncodedString() }

  /// The content where it is text, by its bytes: media types of source files are too many to know.
  var text: String? {
    guard !bytes.contains(0) else { return nil }
    return String(validating: bytes, as: UTF8.self)
  }
}
