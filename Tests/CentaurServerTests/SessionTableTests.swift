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
        THREAD KEY        HARNESS  PERSONA  CREATED               WORKSPACE
        api:a             codex    -        2026-11-24T10:07:00Z  0 B
        api:codex:longer  codex    -        2026-11-24T10:07:00Z  1.5 MiB
        """)
  }

  @Test("without sessions only the titles are there")
  func none() { #expect(SessionTable.text([]) == "THREAD KEY  HARNESS  PERSONA  CREATED  WORKSPACE") }

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
}
