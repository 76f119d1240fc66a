import Foundation
import GoldenFiles
import Harness
import SessionModel
import Testing

/// A turn that runs while its server is replaced by a newer one goes on from what the older one had saved. What this
/// release cannot read is a turn that an upgrade ends.
///
/// `Fixtures/saved/RELEASE/` has what that release saved of some recordings, a line behind each input. The files stay as
/// they are. A release whose machines save something new adds its own: `CENTAUR_WRITE_SAVED=RELEASE`.
struct EarlierReleaseTests {
  static let releases = ["0.1.0"]
  static let ofCodex = ["02-command", "04-reasoning", "06-steer", "10-dynamic-tools"]
  static let ofClaude = ["03-tools", "05-interrupt", "10-sdk-mcp", "13-queue"]

  @Test("a turn of Codex that an earlier release began goes on from any point", arguments: releases, ofCodex)
  func codex(_ release: String, _ name: String) throws {
    let transcript = try Transcript(name, in: "codex")
    try check(release, "codex/\(name)", AppServerPlayer.play(transcript)) {
      AppServerPlayer.play(transcript, restores: $0)
    }
  }

  @Test("a turn of Claude Code that an earlier release began goes on from any point", arguments: releases, ofClaude)
  func claude(_ release: String, _ name: String) throws {
    let transcript = try Transcript(name, in: "claude")
    try check(release, "claude/\(name)", StreamJSONPlayer.play(transcript)) {
      StreamJSONPlayer.play(transcript, restores: $0)
    }
  }

  private func check(
    _ release: String, _ name: String, _ undisturbed: PlayedTranscript, _ play: (@escaping Restore) -> PlayedTranscript
  ) throws {
    let file = golden.fixtures.appending(path: "saved/\(release)/\(name).jsonl")
    if ProcessInfo.processInfo.environment["CENTAUR_WRITE_SAVED"] == release {
      try write(file, play)
    }
    let saved = try String(contentsOf: file, encoding: .utf8).split(separator: "\n").map { Array($0.utf8) }
    let resumed = play { step, _ in
      try #require(step < saved.count, "\(name) has more inputs than \(release) had")
      return saved[step]
    }
    #expect(resumed == undisturbed)
  }

  private func write(_ file: URL, _ play: (@escaping Restore) -> PlayedTranscript) throws {
    var lines: [String] = []
    _ = play { _, saved in
      lines.append(String(decoding: saved, as: UTF8.self))
      return saved
    }
    try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
    try (lines.joined(separator: "\n") + "\n").write(to: file, atomically: true, encoding: .utf8)
  }
}
