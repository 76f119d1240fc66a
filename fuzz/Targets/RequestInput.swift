import Ingress
import SessionModel

/// A request as a target is given it: lines of headers, an empty line, the body.
struct RequestInput {
  var headers: RequestHeaders
  var body: JSONValue

  /// Nil for a body that is no JSON.
  init?(_ input: [UInt8]) {
    var rest = input[...]
    var headers: [String: String] = [:]
    while let end = rest.firstIndex(of: 0x0A) {
      let line = rest[..<end]
      rest = rest[(end + 1)...]
      guard let colon = line.firstIndex(of: 0x3A) else { break }
      let name = String(decoding: line[..<colon], as: UTF8.self)
      headers[name] = String(decoding: line[(colon + 1)...], as: UTF8.self)
    }
    guard let body = try? JSONValue(parsing: rest) else { return nil }
    self.headers = RequestHeaders(headers)
    self.body = body
  }
}

/// What becomes of a request beyond its reading.
enum Kept {
  /// The log gives back what it was given.
  static func check(_ payload: EventPayload) throws {
    guard let read = try? EventPayload(kind: payload.kind, json: JSONValue(parsing: payload.json.serialized)) else {
      throw Broken(description: "the log cannot read its \(payload.kind)")
    }
    try require(read == payload, "the log gives back \(read) and not \(payload)")
  }

  /// An answer's header names the session, and is read as the same one.
  static func check(_ key: ThreadKey) throws {
    let header = key.headerValue
    try require(header.utf8.allSatisfy { (0x20...0x7E).contains($0) }, "a thread key that breaks a header")
    try require((try? ThreadKey(headerValue: header)) == key, "a thread key that its header does not name")
    try require(!Lines.breaks(Array(key.rawValue.utf8)), "a thread key that ends a line")
  }

  /// A caller is told what is wrong in a few sentences, in JSON, without what it sent.
  static func check(_ error: CentaurError, told body: JSONValue) throws {
    try require(!Lines.breaks(body.serialized), "an error that ends a line")
    try require(error.message.utf8.count < 2000, "an error of \(error.message.utf8.count) bytes")
  }
}
