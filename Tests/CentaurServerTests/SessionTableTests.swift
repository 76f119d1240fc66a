import SessionModel
import Testing

@testable import CentaurServer

/// What `centaur sessions` prints.
struct SessionTableTests {
  private static func session(_ key: String, bytes: Int) -> JSONValue {
    [
      "id": "0199", "thread_key": .string(key), "harness": "codex", "persona": nil, "status": "active",
      "created_at": "2026-11-24T10:07:00.123Z", "last_event_id": 12, "workspace": ["bytes": JSONValue(bytes)],
      "newest_execution": ["status": "completed"],
    ]
  }

  @Test("a list has a line a session, in columns")
  func list() {
    let text = SessionTable.text([Self.session("api:a", bytes: 0), Self.session("api:codex:longer", bytes: 1_572_864)])
    #expect(
      text == """
        THREAD KEY        HARNESS  PERSONA  NEWEST TURN  CREATED               WORKSPACE
        api:a             codex    -        completed    2026-11-24T10:07:00Z  0 B
        api:codex:longer  codex    -        completed    2026-11-24T10:07:00Z  1.5 MiB
        """)
  }

  @Test("without sessions only the titles are there")
  func none() { #expect(SessionTable.text([]) == "THREAD KEY  HARNESS  PERSONA  NEWEST TURN  CREATED  WORKSPACE") }

  @Test("one session has a line for each that is known of it")
  func details() {
    #expect(
      SessionTable.details(Self.session("api:a", bytes: 2048)) == """
        thread key:   api:a
        id:           0199
        status:       active
        harness:      codex
        persona:      -
        created:      2026-11-24T10:07:00Z
        events:       12
        newest turn:  completed
        workspace:    2.0 KiB
        """)
  }

  @Test(
    "sizes are short",
    arguments: [
      (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (1 << 20, "1.0 MiB"),
      (5 << 30, "5.0 GiB"), (3 << 40, "3.0 TiB"),
    ])
  func sizes(_ bytes: Int, _ text: String) { #expect(SessionTable.size(JSONValue(bytes)) == text) }

  @Test("names that others chose neither command the terminal nor break the table")
  func hostile() {
    let session: JSONValue = [
      "thread_key": "api:\u{202E}\u{9B}2J", "persona": "\u{1B}]0;owned\u{7}", "harness": "a\nb",
      "created_at": "\r\n", "workspace": ["bytes": .int(.max)], "newest_execution": ["status": "run\nning"],
    ]
    for text in [SessionTable.text([session]), SessionTable.details(session)] {
      #expect(!text.unicodeScalars.contains { $0.value < 0x20 && $0 != "\n" || (0x7F..<0xA0).contains($0.value) })
      #expect(text.contains(#"\u{202E}\u{9B}2J"#) && text.contains(#"\u{1B}]0;owned\u{7}"#))
    }
    #expect(SessionTable.text([session]).split(separator: "\n").count == 2)
  }
}
