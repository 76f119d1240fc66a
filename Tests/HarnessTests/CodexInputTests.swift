import SessionModel
import Testing

@testable import Harness

/// How a client's images come to Codex's model.
struct CodexInputTests {
  @Test(
    "an image comes with how closely it is to be looked at, but for the word with which Codex would drop it",
    arguments: [(nil, nil), ("high", "high"), ("auto", "auto"), ("original", "original"), ("low", nil)]
      as [(sent: String?, told: String?)])
  func detail(_ sent: String?, _ told: String?) {
    let url = "data:image/png;base64,AAAA"
    let message = Message(parts: [.image(dataURL: url, detail: sent)])
    for item in CodexInput.read([message]).items + (CodexInput.history([message])[0]["content"]?.array ?? []) {
      #expect(item["url"]?.string ?? item["image_url"]?.string == url)
      #expect(item["detail"]?.string == told && item["detail"] != .null)
    }
  }
}
