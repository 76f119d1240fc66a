import Ingress
import NIOCore
import SessionModel

/// Frames of a stream, as a strict reader of server-sent events sees them.
enum Frames {
  /// One event, with its whole data on one line, under the name that its data gives.
  static func check(_ frame: ByteBuffer) throws {
    let bytes = Array(frame.readableBytesView)
    try require(bytes.suffix(2) == [0x0A, 0x0A], "a frame without its end")
    var lines = bytes.dropLast(2).split(separator: 0x0A, omittingEmptySubsequences: false).map(Array.init)
    if let first = lines.first, first.starts(with: Array("id: ".utf8)) {
      try require(first.dropFirst(4).allSatisfy { (0x30...0x39).contains($0) }, "an id that is no number")
      lines.removeFirst()
    }
    try require(lines.count == 2, "a frame of \(lines.count) lines")
    let event = Array("event: ".utf8)
    let data = Array("data: ".utf8)
    try require(lines[0].starts(with: event) && lines[1].starts(with: data), "a frame without event and data")
    let name = String(decoding: lines[0].dropFirst(event.count), as: UTF8.self)
    try require(
      !name.isEmpty && name.utf8.allSatisfy { (0x61...0x7A).contains($0) || $0 == 0x5F || $0 == 0x2E },
      "an event of the name '\(name)'")
    let text = lines[1].dropFirst(data.count)
    try require(!Lines.breaks(text), "data that ends its line")
    guard let value = try? JSONValue(parsing: text) else { throw Broken(description: "data that is no JSON") }
    try require((value["type"] ?? value["kind"])?.string == name, "data of another type than its event")
  }

  static func check(_ events: [some WireEvent]) throws {
    for event in events { try check(event.frame) }
  }
}
