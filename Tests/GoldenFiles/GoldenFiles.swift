public import Foundation
public import Testing

/// Files of expected text beside the tests of one target, in its folder `Fixtures`.
///
/// `CENTAUR_WRITE_GOLDEN=1` writes them anew: then read the difference, and say in the commit why it is right.
public struct GoldenFiles: Sendable {
  /// The target's recordings; what is expected of them is below it, in `golden`.
  public let fixtures: URL

  public init(beside file: String = #filePath) {
    fixtures = URL(filePath: file).deletingLastPathComponent().appending(path: "Fixtures")
  }

  /// The names of the recordings in a folder, without their extension, sorted.
  public func names(in folder: String, extension suffix: String) -> [String] {
    let files = (try? FileManager.default.contentsOfDirectory(atPath: fixtures.appending(path: folder).path)) ?? []
    return files.filter { $0.hasSuffix(".\(suffix)") }.map { String($0.dropLast(suffix.count + 1)) }.sorted()
  }

  /// Records an issue where `text` is not what the file says, with the first line that differs.
  /// - Throws: where the file cannot be read or written
  public func check(_ name: String, _ text: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
    let file = fixtures.appending(path: "golden/\(name).txt")
    if ProcessInfo.processInfo.environment["CENTAUR_WRITE_GOLDEN"] == "1" {
      try FileManager.default.createDirectory(
        at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
      try text.write(to: file, atomically: true, encoding: .utf8)
      return
    }
    let expected = try String(contentsOf: file, encoding: .utf8)
    guard text != expected else { return }
    let lines = zip(text.split(separator: "\n"), expected.split(separator: "\n"))
    let first = lines.enumerated().first { $1.0 != $1.1 }
    Issue.record(
      """
      \(name) differs from its golden file\(first.map { ", first in line \($0.offset + 1)" } ?? " in length")
      is:       \(first.map { String($0.element.0.prefix(400)) } ?? "")
      expected: \(first.map { String($0.element.1.prefix(400)) } ?? "")
      """, sourceLocation: sourceLocation)
  }
}
