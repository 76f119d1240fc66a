import SessionModel
import Testing

/// A reader who comes in the middle puts an item together from its pieces; it must be the item that the harness closed.
struct ItemTests {
  private static func grown(_ content: Item.Content, _ deltas: (ItemDelta.Field, String)...) -> Item.Content {
    var item = Item(ordinal: 1, status: .inProgress, content: content)
    for (field, text) in deltas { item.append(ItemDelta(ordinal: 1, field: field, text: text)) }
    #expect(item.ordinal == 1 && item.status == .inProgress)
    return item.content
  }

  @Test("a message grows by its text")
  func message() {
    let grown = Self.grown(.message(MessageItem(phase: .final, text: "Hel")), (.text, "lo"), (.text, ""), (.text, "!"))
    #expect(grown == .message(MessageItem(phase: .final, text: "Hello!")))
  }

  @Test("reasoning grows part by part, and the first piece of a part opens it")
  func reasoning() {
    let grown = Self.grown(
      .reasoning(ReasoningItem()), (.summary(0), "a"), (.summary(0), "b"), (.summary(2), "d"), (.summary(1), "c"),
      (.reasoningText, "raw"))
    #expect(grown == .reasoning(ReasoningItem(summary: ["ab", "c", "d"], text: "raw")))
  }

  @Test("a summary part that no harness can mean neither crashes nor fills the memory")
  func absurdPart() {
    let start = Item.Content.reasoning(ReasoningItem(summary: ["a"]))
    #expect(Self.grown(start, (.summary(.max), "x")) == start)
    #expect(Self.grown(start, (.summary(-1), "x")) == start)
    #expect(Self.grown(start, (.summary(1024), "x")) == start)
    guard case .reasoning(let last) = Self.grown(start, (.summary(1023), "x")) else { return }
    #expect(last.summary.count == 1024 && last.summary.last == "x")
  }

  @Test("a command grows by its output")
  func command() {
    let grown = Self.grown(.command(CommandItem(command: "ls")), (.output, "a\n"), (.output, "b\n"))
    #expect(grown == .command(CommandItem(command: "ls", output: "a\nb\n")))
  }

  @Test("a piece of a field that the item does not have changes nothing")
  func foreign() {
    let message = Item.Content.message(MessageItem(text: "a"))
    #expect(Self.grown(message, (.output, "x"), (.summary(0), "x"), (.reasoningText, "x")) == message)
    let command = Item.Content.command(CommandItem(command: "ls"))
    #expect(Self.grown(command, (.text, "x")) == command)
    #expect(Self.grown(.compaction, (.text, "x"), (.output, "x")) == .compaction)
  }

  @Test("a message's text is that of its text parts, with blank lines between")
  func messageText() {
    let message = Message(parts: [.text("a"), .image(dataURL: "data:,"), .text("b\n"), .file(name: "f", dataURL: "")])
    #expect(message.text == "a\n\nb\n")
    #expect(Message(parts: []).text == "")
  }
}
