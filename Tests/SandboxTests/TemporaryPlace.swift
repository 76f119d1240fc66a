import Foundation
import Glibc
import Testing

/// A directory of one test's own; the test removes it at its end.
struct TemporaryPlace: Sendable {
  let path: String

  init() throws {
    path = "/tmp/centaur-place-\(UInt64.random(in: 0 ... .max))"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  func remove() { try? FileManager.default.removeItem(atPath: path) }

  /// Writes a file, with the directories above it.
  func write(_ name: String, _ text: String, mode: Int = 0o644) throws {
    let file = "\(path)/\(name)"
    try FileManager.default.createDirectory(
      atPath: String(file[..<(file.lastIndex(of: "/") ?? file.endIndex)]), withIntermediateDirectories: true)
    try #require(FileManager.default.createFile(atPath: file, contents: Data(text.utf8)))
    try #require(chmod(file, mode_t(mode)) == 0)
  }

  func read(_ name: String) -> String? {
    FileManager.default.contents(atPath: "\(path)/\(name)").map { String(decoding: $0, as: UTF8.self) }
  }

  func link(_ name: String, to target: String) throws { try #require(symlink(target, "\(path)/\(name)") == 0) }

  func entries(_ name: String = "") throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: "\(path)/\(name)").sorted()
  }

  func exists(_ name: String) -> Bool {
    var status = stat()
    return lstat("\(path)/\(name)", &status) == 0
  }

  func mode(_ name: String) -> Int {
    var status = stat()
    return lstat("\(path)/\(name)", &status) == 0 ? Int(status.st_mode & 0o7777) : -1
  }

  /// Runs a program in this directory. Returns what it printed.
  @discardableResult
  func run(_ command: String) throws -> String {
    let process = Process()
    process.executableURL = URL(filePath: "/bin/sh")
    process.arguments = ["-ec", command]
    process.currentDirectoryURL = URL(filePath: path)
    process.environment = [
      "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": path, "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "t",
      "GIT_AUTHOR_EMAIL": "t@t.invalid", "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@t.invalid",
    ]
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    let said = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    try #require(process.terminationStatus == 0)
    return String(decoding: said, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
  }
}
