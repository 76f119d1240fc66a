import SessionModel

/// An answer in a dialect: the frames of its stream, and the same as one body.
struct WrittenAnswer: Sendable {
  struct Frame: Sendable {
    var bytes: [UInt8]
    /// What goes before it.
    var pause: Duration = .zero
  }

  var frames: [Frame] = []
  /// The connection is cut after this many frames.
  var cutAfter: Int?
  var body: JSONValue = .null
  /// Of the one body; a stream has begun with 200 before it fails.
  var status = 200

  /// `event:` equals the data's `type`, in both dialects.
  mutating func add(_ data: JSONValue, pause: Duration = .zero) {
    var bytes = Array("event: \(data["type"]?.string ?? "message")\ndata: ".utf8)
    data.serialize(into: &bytes)
    bytes.append(contentsOf: "\n\n".utf8)
    frames.append(Frame(bytes: bytes, pause: pause))
  }

  /// A text in pieces; the cut of a dropped answer is in the middle of them.
  mutating func add(pieces text: String, of utterance: Utterance, _ frame: (String) -> JSONValue) {
    let pieces = Script.pieces(text, utterance.chunks)
    for (index, piece) in pieces.enumerated() {
      add(frame(piece), pause: utterance.delay)
      if utterance.drops, index == pieces.count / 2 { cutAfter = frames.count }
    }
  }
}
