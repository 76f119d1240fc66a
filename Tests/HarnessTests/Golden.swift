import Foundation
import Testing

/// Files of expected text beside the tests. `CENTAUR_WRITE_GOLDEN=1` writes them anew: then read the difference.
enum Golden {
  static let fixtures = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Fixtures")

  static func check(_ name: String, _ text: String) throws {
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
      """)
  }
}
