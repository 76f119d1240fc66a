import Logging
import Testing

@testable import CentaurServer

/// A line of the log is the server's own word.
struct OneLineLogTests {
  private struct Lie: Error, CustomStringConvertible {
    let description = "broken\n2026-11-26T00:00:00+0000 notice centaur: all is well"
  }

  private static func event(_ message: String, _ metadata: Logger.Metadata?, error: (any Error)? = nil) -> LogEvent {
    LogEvent(
      level: .error, message: "\(message)", error: error, metadata: metadata, source: "s", file: "f", function: "f",
      line: 1)
  }

  @Test("what others wrote begins no line and commands no terminal")
  func hostile() {
    let said = OneLineLog.onOneLine(
      Self.event(
        "failed\r\n\u{1B}[2J", ["stderr": "a\nb\0", "nested": ["x", ["y": "\u{2028}"]]], error: Lie()))
    var shown = said.message.description
    for (key, value) in said.metadata ?? [:] { shown += " \(key)=\(value)" }
    #expect(!shown.unicodeScalars.contains { $0.value < 0x20 || $0.value == 0x2028 })
    #expect(said.message.description == #"failed\u{D}\n\u{1B}[2J"#)
    #expect(said.metadata?["stderr"] == #"a\nb\u{0}"#)
    #expect(said.error == nil && said.metadata?["error"]?.description.hasPrefix("broken\\n") == true)
  }

  @Test("what a logger carries along is no exception")
  func carried() {
    var log = OneLineLog(label: "test")
    log[metadataKey: "session"] = "a\nb"
    #expect(log[metadataKey: "session"] == #"a\nb"#)
    log.metadata = ["session": "\u{9B}"]
    #expect(log.metadata["session"] == #"\u{9B}"#)
  }
}
