import NIOCore

/// What a client asks of the proxy: `CONNECT host:port HTTP/1.1`, and nothing else.
struct EgressRequest: Hashable {
  var host: String
  var port: Int

  enum Failure: Error, Hashable {
    /// Not HTTP, or a host or port that none can have.
    case malformed
    /// Another method: a plain request would be read by us.
    case notConnect
  }

  /// The longest head that is read.
  static let longestHead = 8 << 10

  /// The end of the head in what came so far.
  static func endOfHead(_ bytes: ByteBufferView) -> ByteBufferView.Index? {
    var index = bytes.startIndex
    while let found = bytes[index...].firstIndex(of: 0x0A) {
      let next = found + 1
      if next < bytes.endIndex, bytes[next] == 0x0A { return next + 1 }
      if next + 1 < bytes.endIndex, bytes[next] == 0x0D, bytes[next + 1] == 0x0A { return next + 2 }
      index = next
    }
    return nil
  }

  init(head: String) throws(Failure) {
    let line = head.utf8.prefix { $0 != 0x0D && $0 != 0x0A }
    let fields = String(decoding: line, as: UTF8.self).split(separator: " ", omittingEmptySubsequences: false)
    guard fields.count == 3, fields[2].hasPrefix("HTTP/1.") else { throw .malformed }
    guard fields[0] == "CONNECT" else { throw .notConnect }
    guard let colon = fields[1].lastIndex(of: ":"),
      let port = EgressRules.Entry.port(fields[1][fields[1].index(after: colon)...])
    else { throw .malformed }
    self.host = String(fields[1][..<colon])
    self.port = port
  }
}
