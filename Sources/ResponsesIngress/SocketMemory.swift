import SessionModel

/// The responses that a WebSocket has given and that its client may continue by their ids; the newest of them. Those that
/// their client wanted kept can be continued from elsewhere too, the others only here.
struct SocketMemory {
  enum Known {
    /// A session has it, or it belongs to none and nothing follows from it.
    case response
    /// A warm-up: what it was given stands before the input of what continues it.
    case warmUp(input: [JSONValue], previous: String?)
  }

  private struct Entry {
    let id: String
    let lane: String?
    let known: Known
    let size: Int
  }

  private static let length = 256

  private var entries: [Entry] = []
  private var size = 0
  /// Of all that is remembered, in bytes.
  private let limit: Int

  init(limit: Int) { self.limit = limit }

  /// - Parameters:
  ///   - lane: on which it was given
  ///   - size: of what is remembered, in bytes
  mutating func remember(_ id: String, _ known: Known, lane: String?, size: Int = 0) {
    remove { $0.id == id }
    entries.append(Entry(id: id, lane: lane, known: known, size: size))
    self.size += size
    while entries.count > Self.length || self.size > limit, entries.count > 1 { drop(0) }
  }

  /// Of what is remembered of a response, in bytes.
  func size(of id: String) -> Int { entries.last { $0.id == id }?.size ?? 0 }

  subscript(id: String) -> Known? { entries.last { $0.id == id }?.known }

  /// Forgets a response whose continuation was refused, on the same lane: its client is to tell the conversation anew.
  mutating func evict(_ id: String, lane: String?) { remove { $0.id == id && $0.lane == lane } }

  private mutating func remove(_ isGone: (Entry) -> Bool) {
    for index in entries.indices.reversed() where isGone(entries[index]) { drop(index) }
  }

  private mutating func drop(_ index: Int) { size -= entries.remove(at: index).size }
}
