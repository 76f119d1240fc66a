import SessionModel
import Testing

/// What somebody else wrote, in a line of ours.
struct OneLineTests {
  @Test(
    "what would end a line, command a terminal or turn the text about is shown",
    arguments: [
      ("two\nlines", #"two\nlines"#), ("\r\n", #"\u{D}\n"#), ("\u{1B}[2J", #"\u{1B}[2J"#), ("\u{9B}2J", #"\u{9B}2J"#),
      ("\0", #"\u{0}"#), ("\u{2028}\u{2029}\u{85}", #"\u{2028}\u{2029}\u{85}"#),
      ("a\u{202E}b", #"a\u{202E}b"#), ("\u{FEFF}", #"\u{FEFF}"#),
    ])
  func shown(_ text: String, _ line: String) { #expect(text.onOneLine == line) }

  @Test("a text that is one line stays as it is", arguments: ["", "api:codex:1", "é€😀", "👩‍👩‍👧", "e\u{301}", "שלום"])
  func kept(_ text: String) { #expect(text.onOneLine == text) }
}
