import Foundation
import GoldenFiles
import Harness
import SessionModel
import Testing

@testable import ControlPlane

/// What a server of an earlier release wrote down of a turn that runs. An entry that this one cannot read is a turn that
/// an upgrade ends.
///
/// `Fixtures/journal/RELEASE.jsonl` stays as it is; a release that writes something new adds its own:
/// `CENTAUR_WRITE_SAVED=RELEASE`.
struct EarlierJournalTests {
  static let releases = ["0.1.0"]
  private static let fixtures = GoldenFiles().fixtures

  /// One of each kind, with all that it may hold.
  private static var entries: [HarnessJournalEntry] {
    get throws {
      let execution = ExecutionID(rawValue: "01a217529ddb01a5a0b5eac1a80edd5f")
      let failure = CentaurError(.toolWaitLimit, "The turn waited for the client's tools.")
      var request = try TurnRequest.sdk("look at this", key: "test:a")
      request.name = RequestName(value: "retry-1", digest: "d1")
      request.options = TurnOptions(
        requestedModel: "gpt-5.5", effort: "low", outputSchema: ["type": "object"], conversation: "c1",
        messagesBefore: 2)
      let steer = PendingSteer(number: 1, input: [.said("look at this")], of: request, to: execution)
      var snapshot = HarnessSnapshot(
        sandbox: "01a217529e0497996ddc1d52ad88b974", offset: 4711, machine: Data(#"{"isReady":true}"#.utf8), output: 12,
        frames: [InputFrame(id: "e/start", bytes: Data("{}\n".utf8))], steers: ["e/steer/1": steer],
        answers: [.init(id: "e/steer/0", isTaken: true)], timers: [HarnessTimer(name: "clean"): .seconds(2)])
      snapshot.execution = execution
      snapshot.failure = failure
      let output = ToolOutput(
        call: ClientCallID(execution, 1), parts: [.text("12 degrees")], isError: true,
        instructions: "Be brief.")
      let inputs: [HarnessInput] = [
        .begin(execution, model: "gpt-5.5"), .interrupt(reason: "cancelled", failure: failure),
        .steer(id: "e/steer/1", steer), .answer(output), .steerAnswered(id: "e/steer/1"),
        .timer(HarnessTimer(name: "clean")),
      ]
      return [.snapshot(snapshot)] + inputs.map { .input($0, offset: 4711) }
    }
  }

  @Test("a journal of an earlier release is read, and says the same", arguments: releases)
  func read(_ release: String) throws {
    let file = Self.fixtures.appending(path: "journal/\(release).jsonl")
    if ProcessInfo.processInfo.environment["CENTAUR_WRITE_SAVED"] == release {
      let lines = try Self.entries.map { String(decoding: try $0.bytes, as: UTF8.self) }
      try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
      try (lines.joined(separator: "\n") + "\n").write(to: file, atomically: true, encoding: .utf8)
    }
    let lines = try String(contentsOf: file, encoding: .utf8).split(separator: "\n").map { Array($0.utf8) }
    #expect(lines.count == 7)
    for line in lines {
      let again = try HarnessJournalEntry(bytes: line).bytes
      #expect(try contains(JSONValue(parsing: again), JSONValue(parsing: line)))
    }
  }

  /// Whether all that `earlier` says is in `value`, which may say more.
  private func contains(_ value: JSONValue, _ earlier: JSONValue) -> Bool {
    switch (value, earlier) {
    case (.object, .object(let members)):
      members.members.allSatisfy { member in value[member.key].map { contains($0, member.value) } ?? false }
    case (.array(let elements), .array(let before)):
      elements.count == before.count && zip(elements, before).allSatisfy { contains($0, $1) }
    default: value == earlier
    }
  }
}
