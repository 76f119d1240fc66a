import Foundation
import Glibc
import ShimProtocol
import Testing

@testable import Sandbox

/// What the agent did while nobody listened must be told to whoever comes next: all of it, and nothing twice.
@Suite(.timeLimit(.minutes(30)))
struct OutputTests {
  private let directory: SandboxDirectory

  init() throws { directory = try SandboxDirectory() }

  /// What `seq 1 count` prints.
  private static func numbers(_ count: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    for number in 1...count {
      bytes += String(number).utf8
      bytes.append(UInt8(ascii: "\n"))
    }
    return bytes
  }

  @Test("a server that attaches is told all output, and the end after it")
  func all() async throws {
    try await directory.run(script: "printf hello; sleep 0.05; printf ' world'") { sandbox in
      let heard = try await sandbox.untilExit()
      #expect(heard.text == "hello world")
      #expect(heard.exit == ShimExit(status: 0, signal: nil, stderrTail: ""))
    }
  }

  @Test("a server that attaches again from an offset is told exactly the rest")
  func rest() async throws {
    try await directory.run(script: "printf 'hello world'") { sandbox in
      for offset in 0...11 {
        let heard = try await sandbox.untilExit(offset: Int64(offset))
        #expect(heard.text == String("hello world".dropFirst(offset)))
        #expect(heard.exit?.status == 0)
      }
    }
  }

  @Test("the hello says which process works and what the spool holds")
  func hello() async throws {
    try await directory.run(script: "echo $$; exec cat") { sandbox in
      let printed = try await sandbox.attach { _, listener in try await listener.listen { $0.text.hasSuffix("\n") } }
      try await sandbox.attach { link, _ in
        #expect(link.hello.version == ShimHello.currentVersion)
        #expect("\(link.hello.harnessPID)\n" == printed.text)
        #expect(link.hello.spoolStart == 0 && link.hello.spoolEnd == Int64(printed.output.count))
        let pid = try String(contentsOfFile: "\(directory.shim)/pid", encoding: .utf8)
        #expect(pid == "\(link.hello.shimPID)\n")
      }
    }
  }

  @Test("links that break in the middle of much output lose nothing and repeat nothing")
  func broken() async throws {
    let expected = Self.numbers(500_000)
    try await directory.run(["/usr/bin/seq", "1", "500000"]) { sandbox in
      var output: [UInt8] = []
      for piece in [1, 65_536, 300_000, 1_000_000] {
        output += try await sandbox.attach(offset: Int64(output.count)) { _, listener in
          try await listener.listen { $0.output.count >= piece }
        }.output
      }
      let last = try await sandbox.untilExit(offset: Int64(output.count))
      output += last.output
      #expect(output.count == expected.count)
      #expect(output == expected)
      #expect(last.exit?.status == 0)
    }
  }

  @Test("a harness does not wait for a server that does not read, nor for one that is not there")
  func nobodyListens() async throws {
    let pipes = ["\(directory.root)/work/once", "\(directory.root)/work/twice"]
    for pipe in pipes { #expect(mkfifo(pipe, 0o600) == 0) }
    try await directory.run(script: "seq 1 300000; echo one >once; seq 1 300000; echo two >twice") { sandbox in
      try await sandbox.attach { _, listener in
        try await listener.listen { !$0.output.isEmpty }
        #expect(try await readToEnd(pipes[0]) == "one\n")
      }
      #expect(try await readToEnd(pipes[1]) == "two\n")
      let expected = Self.numbers(300_000)
      #expect(try await sandbox.untilExit().output == expected + expected)
    }
  }

  @Test("output that is stored elsewhere is let go, so that a long session does not fill the disk")
  func release() async throws {
    try await directory.run(["/usr/bin/head", "-c", "40000000", "/dev/zero"]) { sandbox in
      func segments() throws -> [Int] {
        try FileManager.default.contentsOfDirectory(atPath: "\(directory.shim)/spool").compactMap { Int($0) }.sorted()
      }
      // From behind the end: only the end is told.
      _ = try await sandbox.untilExit(offset: 1 << 40)
      let full = try segments()
      #expect(full.count == 3 && full.first == 0)
      let middle = Int64(full[1])
      func release(before offset: Int64) async throws {
        _ = try await sandbox.attach(offset: 1 << 40) { link, listener in
          try await link.release(before: offset)
          try await link.send(inputID: "after \(offset)", bytes: [])
          return try await listener.listen { $0.accepted.contains("after \(offset)") }
        }
      }
      try await release(before: middle - 1)
      #expect(try segments() == full)
      try await release(before: middle)
      #expect(try segments() == Array(full.dropFirst()))
      try await release(before: .max)
      #expect(try segments() == Array(full.suffix(1)))

      let newest = Int64(full[2])
      let rest = try await sandbox.attach(offset: newest) { link, listener in
        #expect(link.hello.spoolStart == newest && link.hello.spoolEnd == 40_000_000)
        return try await listener.listen { $0.exit != nil }.output.count
      }
      #expect(Int64(rest) == 40_000_000 - newest)
    }
  }

  @Test("the spool and the socket are readable by this user alone")
  func modes() async throws {
    try await directory.run(script: "echo x; echo y >&2") { sandbox in
      _ = try await sandbox.untilExit()
      func mode(_ name: String) throws -> Int? {
        try FileManager.default.attributesOfItem(atPath: "\(directory.shim)/\(name)")[.posixPermissions] as? Int
      }
      for name in [".", "spool"] { #expect(try mode(name) == 0o700, "\(name)") }
      for name in ["spool/0", "stderr", "socket", "pid", "inputs", "exit"] {
        #expect(try mode(name) == 0o600, "\(name)")
      }
    }
  }
}
