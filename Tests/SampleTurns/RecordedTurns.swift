import Foundation
public import SessionModel

/// The turns that the harness adapters made of their recordings, as logs: the golden files of the harnesses' own tests
/// are the input of the dialects' tests. So each dialect is seen over what each real harness did.
public struct RecordedTurns: Sendable, CustomStringConvertible {
  /// `codex/02-command`
  public let name: String
  /// One log for each turn that the recording has, in order.
  public let turns: [(execution: ExecutionID, events: [SessionEvent])]
  public var description: String { name }

  private static let golden = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "HarnessTests/Fixtures/golden")

  /// The recordings of a harness: `codex`, `codex-exec` or `claude`.
  public static func names(of harness: String) -> [String] {
    let files = (try? FileManager.default.contentsOfDirectory(atPath: golden.appending(path: harness).path)) ?? []
    return files.filter { $0.hasSuffix(".txt") }.map { "\(harness)/\($0.dropLast(4))" }.sorted()
  }

  /// - Throws: where the file cannot be read
  public init(_ name: String) throws {
    self.name = name
    let text = try String(contentsOf: Self.golden.appending(path: "\(name).txt"), encoding: .utf8)
    var order: [ExecutionID] = []
    var payloads: [ExecutionID: [EventPayload]] = [:]
    for line in text.split(separator: "\n") {
      guard let (execution, payload) = try Self.event(line) else { continue }
      if payloads[execution] == nil { order.append(execution) }
      payloads[execution, default: []].append(payload)
    }
    turns = order.map { execution in
      (execution, SampleTurns.log(payloads[execution] ?? [], of: execution))
    }
  }

  /// `<execution> <kind> <payload> @<offset>.<index>`; nil for a line that tells of no turn's event.
  private static func event(_ line: Substring) throws -> (ExecutionID, EventPayload)? {
    let words = line.split(separator: " ", maxSplits: 2)
    guard words.count == 3, words[1].contains("."), words[0] != "-", words[2].hasPrefix("{") else { return nil }
    let json = words[2].ranges(of: " @").last.map { words[2][..<$0.lowerBound] } ?? words[2]
    let value = try (try? JSONValue(parsing: String(json))) ?? JSONValue(parsing: String(words[2]))
    return (ExecutionID(rawValue: String(words[0])), try EventPayload(kind: String(words[1]), json: value))
  }
}
