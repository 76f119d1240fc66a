import Foundation
import FuzzTargets
import Testing

/// What the fuzzer once found, read again by everybody's test run: what it broke stays mended.
struct FoundInputTests {
  struct Input: Sendable, CustomTestStringConvertible {
    var target: FuzzTarget
    var file: URL
    var testDescription: String { "\(target.name)/\(file.lastPathComponent)" }
  }

  private static let found = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().appending(path: "fuzz/found")

  static let all: [Input] = FuzzTarget.all.flatMap { target in
    let folder = found.appending(path: target.name)
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
    return names.sorted().map { Input(target: target, file: folder.appending(path: $0)) }
  }

  @Test("what the fuzzer found is read without harm", arguments: all)
  func found(_ input: Input) throws {
    try input.target.check([UInt8](Data(contentsOf: input.file)))
  }

  @Test("there is something of what was found")
  func some() { #expect(!Self.all.isEmpty) }
}
