import Foundation
import Glibc
import ShimProtocol
import Testing

@testable import Sandbox

/// A harness that prints without end must not fill the disk while nobody takes what it prints, and nothing of what it
/// printed may be missing for that.
@Suite(.timeLimit(.minutes(30)))
struct SpoolLimitTests {
  private let directory: SandboxDirectory
  private static let limit = 1 << 20
  /// What a pipe holds: a harness that has to wait has printed so much more.
  private static let pipe = 64 << 10

  init() throws { directory = try SandboxDirectory() }

  private func spec(_ script: String, limit: Int = Self.limit) -> SandboxSpec {
    var spec = directory.spec(["/bin/sh", "-c", script])
    spec.spoolLimit = limit
    return spec
  }

  private var segments: [Int] {
    get throws {
      try FileManager.default.contentsOfDirectory(atPath: "\(directory.shim)/spool").compactMap { Int($0) }.sorted()
    }
  }

  /// Waits until the spool holds as much as it may.
  private func waitUntilFull(_ sandbox: any SandboxHandle) async throws {
    while try await sandbox.attach({ link, _ in link.hello.spoolEnd }) < Int64(Self.limit) {
      try await Task.sleep(for: .milliseconds(5))
    }
  }

  @Test("output that ends at the limit, or that its pipe still holds, makes nobody wait", arguments: [-1, 0, 1, pipe])
  func below(_ more: Int) async throws {
    let count = Self.limit + more
    try await directory.run(spec("head -c \(count) /dev/zero")) { sandbox in
      // Nothing is released: this harness ends by itself.
      let heard = try await sandbox.untilExit()
      #expect(heard.output.count == count)
      #expect(heard.exit?.status == 0)
    }
  }

  @Test("a harness waits at the limit until what it printed is released, and nothing is missing")
  func waits() async throws {
    let done = "\(directory.root)/work/done"
    try await directory.run(spec("seq 1 500000; touch done")) { sandbox in
      try await waitUntilFull(sandbox)
      let taken = try await sandbox.attach { link, listener in
        let held = try await listener.listen { $0.output.count >= Self.limit }
        #expect(held.output.count == Self.limit)
        // It reads what is asked of it meanwhile.
        try await link.send(inputID: "one", bytes: [])
        try await listener.listen { $0.accepted == ["one"] }
        #expect(listener.heard.output.count == Self.limit && !FileManager.default.fileExists(atPath: done))
        while listener.heard.exit == nil {
          let count = listener.heard.output.count
          try await link.release(before: Int64(count))
          try await listener.listen { $0.exit != nil || $0.output.count > count }
          // What may wait, what is released of a segment that is not, and the rest of a pipe at the end.
          let files = try self.segments.count
          #expect(files <= 6, "\(files) segments of a quarter of the limit")
        }
        return listener.heard
      }
      #expect(taken.text == (1...500_000).map { "\($0)\n" }.joined())
      #expect(taken.exit?.status == 0)
      #expect(FileManager.default.fileExists(atPath: done))
    }
  }

  @Test("a harness that dies while it waits has its output told first, all that was in its pipe too")
  func dies() async throws {
    // What the shim promises: a pipe may be made to hold 1 MiB, and what fills this one may still write while it is killed.
    let count = Self.limit + (1 << 20)
    try await directory.run(spec("echo $$; head -c 100000000 /dev/zero & wait")) { sandbox in
      try await waitUntilFull(sandbox)
      let heard = try await sandbox.attach { link, listener in
        try await listener.listen { $0.output.count >= Self.limit }
        let pid = try #require(Int32(listener.heard.text.prefix { $0 != "\n" }))
        kill(pid, SIGKILL)
        return try await listener.listen { $0.exit != nil }
      }
      #expect(heard.exit?.signal == SIGKILL)
      #expect(heard.output.count > Self.limit && heard.output.count <= count)
    }
  }

  @Test("a sandbox ends when it is told to, though its harness waits for the spool")
  func stops() async throws {
    let harness = try await directory.run(spec("echo $$; exec yes")) { sandbox in
      try await waitUntilFull(sandbox)
      return try await sandbox.attach { link, _ in link.hello.harnessPID }
    }
    #expect(!isRunning(harness))
  }

  @Test("where the disk takes no more the harness ends, what it had printed is whole, and its end says why")
  func diskFull() async throws {
    let script = "head -c 1024 /dev/zero | tr '\\0' x; read line; while echo more; do :; done"
    try await directory.run(spec(script, limit: 4096)) { sandbox in
      let heard = try await sandbox.attach { link, listener in
        try await listener.listen { $0.output.count == 1024 }
        // In the way of the next segment.
        #expect(mkdir("\(directory.shim)/spool/1024", 0o700) == 0)
        try await link.send(inputID: "go", bytes: Array("\n".utf8))
        return try await listener.listen { $0.exit != nil }
      }
      #expect(heard.text == String(repeating: "x", count: 1024))
      #expect(heard.exit?.lostOutput == true)
      #expect(rmdir("\(directory.shim)/spool/1024") == 0)
      // Room that comes back later must not make a gap.
      #expect(try await sandbox.untilExit(fence: 2).text == heard.text)
    }
  }
}
