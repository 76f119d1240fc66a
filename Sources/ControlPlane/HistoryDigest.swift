import Crypto
import SessionModel

/// What was said in a conversation, as one value: that of a session's head is equal to that of the history which a client
/// sends that keeps the conversation by itself.
///
/// It is over roles and texts, as what else clients send of a message differs: messages of one role that follow one
/// another count as one, and white space does not count, so that an answer in pieces and one that was joined are the
/// same. Images and files count by their content. The owner is part of it.
struct HistoryDigest: Sendable, Hashable {
  /// Up to the newest answer but one.
  private var before: String
  /// What the user said since then: it counts with its answer.
  private var asked: [UInt8] = []
  /// The newest answer, to which more may be said.
  private var answered: [UInt8]?

  /// Of a conversation in which nothing was said.
  init(of owner: Owner) { before = Self.hexadecimal(SHA256.hash(data: Array("history 1\n\(owner.rawValue)".utf8))) }

  /// That goes on from a session's.
  init(value: String) { before = value }

  /// Of all up to the newest answer.
  var value: String {
    guard let answered else { return before }
    var hash = SHA256()
    hash.update(data: Array("\(before) \(asked.count)\n".utf8))
    hash.update(data: asked)
    hash.update(data: answered)
    return Self.hexadecimal(hash.finalize())
  }

  mutating func add(_ messages: some Sequence<Message>) {
    for message in messages where !message.isNote {
      add(isAnswer: message.role == .assistant) { Self.append(message, to: &$0) }
    }
  }

  mutating func add(_ said: [Said]) {
    for part in said { add(isAnswer: part.isAnswer) { $0 += part.bytes } }
  }

  private mutating func add(isAnswer: Bool, _ append: (inout [UInt8]) -> Void) {
    if isAnswer {
      // Taken out while it grows, so that it is not copied with each piece.
      var text = answered ?? []
      answered = nil
      append(&text)
      answered = text
    } else {
      if answered != nil { (before, asked, answered) = (value, [], nil) }
      append(&asked)
    }
  }

  /// What counts of something that was said.
  struct Said: Sendable {
    var isAnswer: Bool
    var bytes: [UInt8] = []

    init(_ message: Message) {
      isAnswer = message.role == .assistant
      HistoryDigest.append(message, to: &bytes)
    }

    /// Stands for what is too long to be held: no client's telling has it, as white space counts nowhere.
    static let tooLong: Said = {
      var said = Said(Message(parts: []))
      said.bytes = [1]
      return said
    }()
  }

  fileprivate static func append(_ message: Message, to bytes: inout [UInt8]) {
    for part in message.parts {
      switch part {
      case .text(let text): append(text, to: &bytes)
      case .image(let url, _), .file(_, let url):
        bytes.append(0)
        bytes += Array(SHA256.hash(data: Array(url.utf8)))
      }
    }
  }

  /// Without white space. A long history has millions of bytes: no branch and no growth for each.
  private static func append(_ text: String, to bytes: inout [UInt8]) {
    var text = text
    text.withUTF8 { utf8 in
      bytes += [UInt8](unsafeUninitializedCapacity: utf8.count) { kept, count in
        for byte in utf8 {
          kept[count] = byte
          count &+= byte > 0x20 ? 1 : 0
        }
      }
    }
  }

  /// Half of it is enough, and is what a store has to look for.
  private static func hexadecimal(_ hash: SHA256.Digest) -> String { hash.prefix(16).hexadecimal }
}

extension SessionDrive {
  /// The digest of a session that is there, with what its open turns have said so far.
  func digest(of session: Session) async throws -> SessionDigest? {
    guard let value = session.historyDigest else { return nil }
    var digest = SessionDigest(HistoryDigest(value: value))
    for execution in try await services.store.openExecutions(session.id) {
      try await read(execution, withPieces: false) { _ = digest.fold($0.payload, of: $0.executionID) }
    }
    return digest
  }
}

/// A session's digest as a fold over what is written to its log.
struct SessionDigest: Sendable {
  /// Up to the newest turn that was answered.
  private(set) var head: HistoryDigest
  /// What was said in turns that are not over, as far as it counts.
  private var open: [ExecutionID: Turn] = [:]

  /// A turn's words are held until it is over, as another one may be answered first. One of more bytes than this is known
  /// by the ids of its items alone.
  static let longestTurn = 8 << 20

  private struct Turn {
    var said: [HistoryDigest.Said] = []
    private var size = 0
    private var isTooLong = false

    mutating func add(_ message: Message) {
      guard !isTooLong, !message.isNote else { return }
      let part = HistoryDigest.Said(message)
      size += part.bytes.count
      isTooLong = size > SessionDigest.longestTurn
      if isTooLong {
        said = [.tooLong, HistoryDigest.Said(Message(role: .assistant, parts: []))]
      } else {
        said.append(part)
      }
    }
  }

  /// How many bytes are held of turns that are not over.
  var held: Int { open.values.reduce(0) { $0 + $1.said.reduce(0) { $0 + $1.bytes.count } } }

  init(_ head: HistoryDigest) { self.head = head }

  /// - Returns: the turn that is answered with this event
  mutating func fold(_ payload: EventPayload, of execution: ExecutionID?) -> ExecutionID? {
    switch payload {
    case .messageAppended(let message):
      guard let execution else {
        head.add([message])
        return nil
      }
      open[execution, default: Turn()].add(message)
    case .itemCompleted(let item):
      guard let execution, open[execution] != nil, case .message(let message) = item.content, !message.text.isEmpty
      else { return nil }
      open[execution]?.add(Message(role: .assistant, parts: [.text(message.text)]))
    case .executionCompleted:
      guard let execution, let said = open.removeValue(forKey: execution) else { return nil }
      head.add(said.said)
      return execution
    case .executionFailed, .executionCancelled:
      if let execution { open[execution] = nil }
    default: break
    }
    return nil
  }
}
