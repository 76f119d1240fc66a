import FoundationEssentials
import Testing

@testable import CentaurServer

/// Where a harness's program is looked for.
struct HarnessExecutableTests {
  /// A directory with a program, a file that is none, and a directory of a program's name.
  private static func with(_ body: (String) throws -> Void) throws {
    let directory = "/tmp/centaur-executable-\(UInt32.random(in: 0 ... .max))"
    let files = FileManager.default
    for name in ["first", "second", "third/centaur-test-program"] {
      try files.createDirectory(atPath: "\(directory)/\(name)", withIntermediateDirectories: true)
    }
    defer { try? files.removeItem(atPath: directory) }
    for (name, mode) in [("first", 0o644), ("second", 0o755)] {
      #expect(
        files.createFile(
          atPath: "\(directory)/\(name)/centaur-test-program", contents: Data("#!/bin/sh\n".utf8),
          attributes: [.posixPermissions: mode]))
    }
    try body(directory)
  }

  private static func path(_ configured: String?, _ search: String?) -> String {
    HarnessExecutable.path(
      "centaur-test-program", configured: configured, environment: search.map { ["PATH": $0] } ?? [:])
  }

  private static var here: String { FileManager.default.currentDirectoryPath }

  @Test("the configured program wins, relative to where the server was started")
  func configured() throws {
    try Self.with { directory in
      #expect(Self.path("/opt/codex", "\(directory)/second") == "/opt/codex")
      #expect(Self.path("tools/codex", nil) == "\(Self.here)/tools/codex")
    }
  }

  @Test("else the first program on PATH; what cannot be run and what is a directory do not count")
  func search() throws {
    try Self.with { directory in
      let search = "\(directory)/missing:\(directory)/first:\(directory)/third::\(directory)/second"
      #expect(Self.path(nil, search) == "\(directory)/second/centaur-test-program")
    }
  }

  @Test("a directory of PATH that is relative is one from where the server was started")
  func relative() throws {
    try Self.with { directory in
      let up = String(repeating: "../", count: Self.here.split(separator: "/").count)
      let relative = up + directory.dropFirst() + "/second"
      #expect(Self.path(nil, relative) == "\(Self.here)/\(relative)/centaur-test-program")
    }
  }

  @Test("where there is none, the place where it was expected is named", arguments: [nil, "", "/nonexistent"])
  func missing(_ search: String?) {
    #expect(Self.path(nil, search) == "\(Self.here)/.venv/bin/centaur-test-program")
  }
}
