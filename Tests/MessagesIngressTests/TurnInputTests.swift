import ControlPlane
import Ingress
import SessionModel
import Testing

@testable import MessagesIngress

/// What no recording holds of the input rule (wire/claude-client.md §1).
struct TurnInputTests {
  private static func user(_ texts: String...) -> JSONValue {
    ["role": "user", "content": .array(texts.map { ["type": "text", "text": .string($0)] })]
  }

  private static func assistant(_ texts: String...) -> JSONValue {
    ["role": "assistant", "content": .array(texts.map { ["type": "text", "text": .string($0)] })]
  }

  private static func read(_ messages: JSONValue..., session: String = "s") throws -> TurnInput {
    try TurnInput.ofClaudeCode(messages, clientSession: session)
  }

  private static func texts(_ input: TurnInput) -> [String] { input.messages.map(\.text) }

  private static let reminder = "<system-reminder>\nbe good\n</system-reminder>"

  @Test("a prompt has the same id in each retry, however the client writes it")
  func retry() throws {
    let first = try Self.read(Self.user(Self.reminder, "do it"))
    let string = try Self.read(["role": "user", "content": "do it"])
    let cached = try Self.read([
      "role": "user", "content": [["type": "text", "text": "do it\n", "cache_control": ["type": "ephemeral"]]],
    ])
    #expect(first.messages.map(\.clientID) == string.messages.map(\.clientID))
    #expect(first.messages.map(\.clientID) == cached.messages.map(\.clientID))
    #expect(first.messagesBefore == 0)
  }

  @Test("the same words at another place, after a compaction or in another client's session are new")
  func places() throws {
    let inputs = [
      try Self.read(Self.user("again")), try Self.read(Self.user("again"), session: "t"),
      try Self.read(Self.user("again"), Self.assistant("ok"), Self.user("again")),
      try Self.read(Self.user("This session is being continued from a previous conversation (1)", "again")),
      try Self.read(Self.user("This session is being continued from a previous conversation (2)", "again")),
    ]
    #expect(Set(inputs.map { $0.messages[0].clientID }).count == 5)
    #expect(inputs.map(\.messagesBefore) == [0, 0, 2, 0, 0])
    // The client counts anew after a compaction: the counts of the first and the third are of one conversation.
    #expect(Set(inputs.map(\.conversation)).count == 4 && inputs[0].conversation == inputs[2].conversation)
  }

  @Test("the same words behind a part of their answer may be said again; behind an interrupt or others they are new")
  func resent() throws {
    let resent = try Self.read(Self.user(Self.reminder, "do it"), Self.assistant("begun"), Self.user("do it"))
    #expect(resent.isResent)
    #expect(resent.heldTexts == ["begun"])
    let string = try Self.read(
      Self.user("a"), Self.assistant("b"), ["role": "user", "content": "do it"], ["role": "system", "content": "now"],
      Self.assistant("one"), Self.assistant("two"), Self.user("do it", Self.reminder))
    #expect(string.isResent)
    #expect(string.heldTexts == ["one", "two"])
    let call: JSONValue = ["role": "assistant", "content": [["type": "tool_use", "id": "t", "name": "n"]]]
    let new = [
      try Self.read(Self.user("do it")), try Self.read(Self.user("do it"), Self.user("do it")),
      try Self.read(Self.user("do it"), Self.assistant("begun"), Self.user("do that")),
      try Self.read(Self.user("do it"), Self.assistant("begun"), Self.user("[Request interrupted by user]", "do it")),
      try Self.read(Self.user("do it"), call, Self.user("do it")),
      try Self.read(Self.user("do it"), Self.assistant("ok"), Self.user("b"), Self.assistant("c"), Self.user("do it")),
    ]
    #expect(new.allSatisfy { !$0.isResent })
  }

  @Test("a summary of a part stands where it stands: later turns are in that conversation too")
  func partlySummarized() throws {
    let summary = "This session is being continued from a previous conversation (1)"
    let before = try Self.read(Self.user("one"), Self.assistant("ok"), Self.user("two"))
    let first = try Self.read(Self.user("one"), Self.assistant("ok"), Self.user(summary, "two"))
    let second = try Self.read(
      Self.user("one"), Self.assistant("ok"), Self.user(summary, "two"), Self.assistant("ok"), Self.user("three"))
    #expect(before.conversation != first.conversation && first.conversation == second.conversation)
    #expect(Self.texts(second) == ["three"])
  }

  @Test("a note on an image's source, and what /context printed, are not the user's words")
  func printed() throws {
    let image = try Self.read([
      "role": "user",
      "content": [
        ["type": "image", "source": ["type": "base64", "media_type": "image/png", "data": "aGk="]],
        ["type": "text", "text": "look"], ["type": "text", "text": "[Image: source: /tmp/1.png]"],
      ],
    ])
    #expect(Self.texts(image) == ["", "look"])
    let command = "<command-name>/context</command-name>\n            <command-message>context</command-message>"
    let report = "## Context Usage\n\n**Model:** claude-opus-5-5"
    #expect(Self.texts(try Self.read(Self.user(command, report, "go on"))) == ["go on"])
    #expect(Self.texts(try Self.read(Self.user(report))) == [report], "a user may write so too")
  }

  @Test("after a failed turn the client merges both prompts: the first keeps its id, the second is new")
  func merged() throws {
    let first = try Self.read(Self.user(Self.reminder, "hello"))
    let both = try Self.read(Self.user(Self.reminder, "hello\n", "NEW prompt"))
    #expect(Self.texts(both) == ["hello", "NEW prompt"])
    #expect(both.messages[0].clientID == first.messages[0].clientID)
    #expect(both.messages[1].clientID != both.messages[0].clientID)
  }

  @Test("a nudge asks for the answer to be told on, with what the client kept of it")
  func nudge() throws {
    let nudge = "Your response above was cut off mid-stream. Resume directly, no apology."
    let input = try Self.read(
      Self.user("old"), Self.assistant("older answer"), Self.user("go"), Self.assistant("Ran `ls` → exit 0", "Half"),
      Self.user(nudge), Self.assistant("More"), Self.user(nudge, nudge))
    #expect(input.continues && input.messages.isEmpty)
    #expect(input.heldTexts == ["Ran `ls` → exit 0", "Half", "More"])
  }

  @Test("a new prompt behind nudges is a prompt")
  func promptBehindNudges() throws {
    let input = try Self.read(
      Self.user("go"), Self.assistant("Half"),
      Self.user("Your response above was cut off mid-stream. Resume directly.", "NEW prompt"))
    #expect(!input.continues && Self.texts(input) == ["NEW prompt"])
  }

  @Test("an interruption is a mark, not a prompt")
  func interruption() throws {
    let input = try Self.read(
      Self.user("go"), Self.assistant("be"), Self.user("[Request interrupted by user]\n", "after esc"))
    #expect(input.isAbort && Self.texts(input) == ["after esc"])
  }

  @Test("tool results alone ask for nothing new")
  func toolResults() throws {
    let result: JSONValue = ["type": "tool_result", "tool_use_id": "t", "content": "x"]
    let input = try Self.read(Self.user("go"), Self.assistant("calling"), ["role": "user", "content": [result]])
    #expect(input.continues)
  }

  @Test("what the user ran in their shell is noted, and comes with their next words")
  func shell() throws {
    let command = Self.user("<bash-input>ls</bash-input>", "<bash-stdout>a.txt</bash-stdout>")
    #expect(try Self.read(command).isShellOnly)
    let next = try Self.read(command, Self.assistant(SideAnswer.noted), Self.user("what is it?"))
    #expect(!next.isShellOnly)
    #expect(
      next.messages.flatMap(\.parts) == [
        .text("<bash-input>ls</bash-input>"), .text("<bash-stdout>a.txt</bash-stdout>"), .text("what is it?"),
      ])
    let later = try Self.read(
      command, Self.assistant(SideAnswer.noted), Self.user("what is it?"), Self.assistant("a file"), Self.user("ok"))
    #expect(later.messages.flatMap(\.parts) == [.text("ok")])
  }

  @Test("a remote image is refused and named, never fetched")
  func remoteImage() throws {
    let message: JSONValue = [
      "role": "user", "content": [["type": "image", "source": ["type": "url", "url": "http://127.0.0.1:9/x.png"]]],
    ]
    #expect(throws: CentaurError.self) { try TurnInput.ofSDK([message]) }
    do {
      _ = try TurnInput.ofSDK([message])
    } catch {
      #expect(error.code == .unsupported && error.parameter == "messages[0].content[0].source")
    }
  }

  struct Unreadable: Sendable {
    var block: JSONValue
    var field: String
    var said: String
    init(_ type: String, _ media: String, _ data: String, _ field: String, _ said: String) {
      block = [
        "type": .string(type), "source": ["type": "base64", "media_type": .string(media), "data": .string(data)],
      ]
      (self.field, self.said) = (field, "\(type).source.base64.\(said)")
    }
  }

  static let unreadable: [Unreadable] = [
    Unreadable("image", "image/png", "###", "data", "data: The content is not base64"),
    Unreadable("image", "image/png", "AAA", "data", "data: The content is not base64"),
    Unreadable("image", "image/png", "AA=A", "data", "data: The content is not base64"),
    Unreadable("image", "image/png", "AAAA\nAAAA", "data", "data: The content is not base64"),
    Unreadable("image", "image/png", "", "data", "data: The content holds nothing"),
    Unreadable("image", "image/tiff", "AAAA", "media_type", "media_type: Input should be 'image/jpeg', 'image/png', "),
    Unreadable("image", "image/png;base64,AAAA", "AAAA", "media_type", "media_type: Input should be 'image/jpeg', "),
    Unreadable("document", "application/pdf", "§", "data", "data: The content is not base64"),
    Unreadable("document", "pdf", "AAAA", "media_type", "media_type: Input should be a media type"),
    Unreadable("document", "text/plain,x", "AAAA", "media_type", "media_type: Input should be a media type"),
  ]

  @Test("what no model could read is refused by its path, in the words of Anthropic's API", arguments: unreadable)
  func unreadableContent(_ wrong: Unreadable) throws {
    func refusal(_ messages: JSONValue...) -> CentaurError? {
      do throws(CentaurError) {
        _ = try TurnReading(
          try MessagesRequest(["model": "m", "messages": .array(messages)]), headers: RequestHeaders([:])
        ).input()
        return nil
      } catch { return error }
    }
    let hello: JSONValue = ["type": "text", "text": "look"]
    let said: JSONValue = ["role": "user", "content": [hello, wrong.block]]
    let error = try #require(refusal(said))
    #expect(error.code == .invalidValue && error.parameter == "messages[0].content[1].source.\(wrong.field)")
    #expect(error.message.hasPrefix("messages.0.content.1.\(wrong.said)"), "\(error.message)")
    // An answered question with it is refused all the same: it would be lost on its way to the agent.
    let earlier = try #require(refusal(said, Self.assistant("a picture"), Self.user("and now?")))
    #expect(earlier.parameter == error.parameter)
    let result: JSONValue = ["type": "tool_result", "tool_use_id": "t", "content": [wrong.block]]
    let ofTool = try #require(refusal(Self.user("go"), ["role": "user", "content": [result]]))
    #expect(ofTool.parameter == "messages[1].content[0].content[0].source.\(wrong.field)")
    #expect(ofTool.message.hasPrefix("messages.1.content.0.tool_result.content.0.\(wrong.said)"), "\(ofTool.message)")
    #expect(throws: CentaurError.self) { try TurnInput.ofClaudeCode([said], clientSession: "s") }
  }

  @Test("the kinds of images that Anthropic's API takes are taken", arguments: ["jpeg", "png", "gif", "webp"])
  func readableImages(_ kind: String) throws {
    let image: JSONValue = [
      "type": "image", "source": ["type": "base64", "media_type": .string("image/\(kind)"), "data": "iVBORw=="],
    ]
    let expected = Message.Part.image(dataURL: "data:image/\(kind);base64,iVBORw==")
    let message: JSONValue = ["role": "user", "content": [image]]
    #expect(try TurnInput.ofSDK([message]).messages.flatMap(\.parts) == [expected])
    #expect(try TurnInput.ofClaudeCode([message], clientSession: "s").messages.flatMap(\.parts) == [expected])
  }

  @Test("images and documents are parts of the message, in their order")
  func attachments() throws {
    let message: JSONValue = [
      "role": "user",
      "content": [
        ["type": "image", "source": ["type": "base64", "media_type": "image/png", "data": "AAAA"]],
        ["type": "text", "text": "[Image: source: /tmp/1.png]"], ["type": "text", "text": "what is it"],
        [
          "type": "document", "title": "a.pdf",
          "source": ["type": "base64", "media_type": "application/pdf", "data": "QkI="],
        ],
        ["type": "document", "source": ["type": "text", "media_type": "text/plain", "data": "hi"]],
      ],
    ]
    let parts = try TurnInput.ofClaudeCode([message], clientSession: "s").messages.flatMap(\.parts)
    #expect(
      parts == [
        .image(dataURL: "data:image/png;base64,AAAA"), .text("what is it"),
        .file(name: "a.pdf", dataURL: "data:application/pdf;base64,QkI="),
        .file(name: nil, dataURL: "data:text/plain;base64,aGk="),
      ])
  }

  @Test("a program's request is its last message, with what came before as history")
  func sdk() throws {
    let request = try MessagesRequest([
      "model": "m", "system": "be brief",
      "messages": [Self.user("My name is Ada."), Self.assistant("Noted."), Self.user("who", "am I?")],
    ])
    let reading = TurnReading(request, headers: RequestHeaders([:]))
    let turn = try reading.turn(try reading.input(), of: .local).0
    #expect(turn.input == [Message(parts: [.text("who"), .text("am I?")])])
    #expect(turn.history().map(\.text) == ["My name is Ada.", "Noted."])
    #expect(turn.instructions == "be brief" && turn.session == .fresh)
  }
}
