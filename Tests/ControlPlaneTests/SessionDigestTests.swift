import SessionModel
import Testing

@testable import ControlPlane

/// What a session holds of turns that are not over, to know its clients' histories again.
struct SessionDigestTests {
  private static let execution = ExecutionID(rawValue: "e")

  private static func said(_ role: Message.Role, _ text: String) -> Message {
    Message(role: role, parts: [.text(text)])
  }

  private static func answer(_ text: String) -> EventPayload {
    .itemCompleted(Item(ordinal: 1, status: .completed, content: .message(MessageItem(text: text))))
  }

  private static func told(_ messages: [Message]) -> String {
    var digest = HistoryDigest(of: .local)
    digest.add(messages)
    return digest.value
  }

  @Test("of an image no more is held than tells it from another, and its client's history is known by it")
  func images() {
    let image = Message.Part.image(dataURL: "data:image/png;base64," + String(repeating: "A", count: 4 << 20))
    var digest = SessionDigest(HistoryDigest(of: .local))
    let asked = Message(parts: [.text("what is it?"), image])
    _ = digest.fold(.messageAppended(asked), of: Self.execution)
    #expect(digest.held < 100)
    _ = digest.fold(Self.answer("a square"), of: Self.execution)
    #expect(digest.fold(.executionCompleted(TurnUsage()), of: Self.execution) == Self.execution)
    #expect(digest.held == 0)
    #expect(digest.head.value == Self.told([asked, Self.said(.assistant, "a square")]))
  }

  @Test("a turn of very many words is not held: no telling is taken for it, and the session goes on")
  func words() {
    func run(_ words: String) -> SessionDigest {
      var digest = SessionDigest(HistoryDigest(of: .local))
      _ = digest.fold(.messageAppended(Self.said(.user, "a")), of: Self.execution)
      for _ in 0..<2 { _ = digest.fold(Self.answer(words), of: Self.execution) }
      #expect(digest.held <= SessionDigest.longestTurn)
      _ = digest.fold(.executionCompleted(TurnUsage()), of: Self.execution)
      return digest
    }
    let half = String(repeating: "x", count: SessionDigest.longestTurn / 2)
    let fits = String(half.dropLast())
    #expect(run(fits).head.value == Self.told([Self.said(.user, "a"), Self.said(.assistant, fits + fits)]))
    var over = run(half)
    #expect(over.head.value != Self.told([Self.said(.user, "a"), Self.said(.assistant, half + half)]))
    let before = over.head.value
    _ = over.fold(.messageAppended(Self.said(.user, "b")), of: Self.execution)
    _ = over.fold(Self.answer("c"), of: Self.execution)
    _ = over.fold(.executionCompleted(TurnUsage()), of: Self.execution)
    #expect(over.head.value != before)
  }
}
