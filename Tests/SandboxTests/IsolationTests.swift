import Foundation
import Glibc
import SessionModel
import ShimProtocol
import Testing

@testable import Sandbox

/// The server's process holds the provider's key and everybody's connections; a harness must get none of it.
@Suite(.timeLimit(.minutes(30)))
struct IsolationTests {
  private let directory: SandboxDirectory

  init() throws { directory = try SandboxDirectory() }

  @Test("of the server's environment the harness sees its PATH and nothing else; of the sandbox it knows the id")
  func environment() async throws {
    let backend = ProcessSandbox(
      shim: ShimBinary.path, environment: ["PATH": "/usr/bin:/bin", "OPENAI_API_KEY": "secret", "HOME": "/root"])
    let sandbox = try await backend.start(directory.spec(["/usr/bin/env"], environment: ["CODEX_HOME": "/x y"]))
    let heard = try await sandbox.untilExit()
    await sandbox.stop()
    #expect(
      Set(heard.text.split(separator: "\n").map(String.init)) == [
        "PATH=/usr/bin:/bin", "HOME=\(directory.root)/home", "TMPDIR=\(directory.root)/tmp", "LANG=C.UTF-8",
        "GIT_CEILING_DIRECTORIES=\(directory.root)", "CODEX_HOME=/x y", "CENTAUR_SANDBOX=\(directory.shim)",
      ])
  }

  @Test("no descriptor of the server reaches the harness, nor the shim")
  func descriptors() async throws {
    // One that is not closed on exec, as a library may open it.
    let leak = open("\(directory.root)/secret", O_RDWR | O_CREAT, 0o600)
    #expect(leak >= 0)
    defer { close(leak) }
    try await directory.run(script: "ls -l /proc/self/fd; exec cat") { sandbox in
      let (listing, shim) = try await sandbox.attach { link, listener in
        try await link.send(inputID: "a", bytes: Array("end".utf8))
        return (try await listener.listen { $0.text.hasSuffix("end") }.text, link.hello.shimPID)
      }
      let open = listing.split(separator: "\n").compactMap { line -> [Substring]? in
        guard let arrow = line.firstRange(of: " -> ") else { return nil }
        return [line[..<arrow.lowerBound].split(separator: " ").last ?? "", line[arrow.upperBound...]]
      }
      // The fourth is the listed directory itself.
      #expect(open.map { $0[0] } == ["0", "1", "2", "3"])
      #expect(open.prefix(3).allSatisfy { $0[1].hasPrefix("pipe:") })
      let ofShim = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(shim)/fd").compactMap {
        try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(shim)/fd/\($0)")
      }
      #expect(!ofShim.isEmpty)
      for target in ofShim {
        let isItsOwn =
          target.hasPrefix("pipe:") || target.hasPrefix("socket:") || target == "/dev/null"
          || target.hasPrefix(directory.shim)
        #expect(isItsOwn, "\(target)")
      }
    }
  }

  @Test("the harness starts in its workspace, in a session of its own, with no signal ignored or blocked")
  func start() async throws {
    let script = "pwd; ps -o sid= -p $$ | tr -d ' '; echo $$; grep -E '^Sig(Blk|Ign):' /proc/self/status"
    let lines = try await directory.run(script: script) { sandbox in
      try await sandbox.untilExit().text.split(separator: "\n").map(String.init)
    }
    #expect(lines.count == 5)
    #expect(lines[0] == directory.root + "/work")
    #expect(lines[1] == lines[2])
    for line in lines[3...] {
      let signals = try #require(line.split(separator: "\t").last.flatMap { UInt64($0, radix: 16) })
      // 32 and 33 belong to the C library, which lets nobody set them.
      #expect(signals & ~(0b11 << 31) == 0, "\(line)")
    }
  }

  @Test("the harness finds its files in its home, readable by this user alone")
  func files() async throws {
    let files = [".codex/config.toml": Array("model = \"m\"\n".utf8), "empty": [], "a/b/c": [0, 255]]
    let spec = directory.spec(["/bin/cat", "\(directory.root)/home/.codex/config.toml"], files: files)
    #expect(try await directory.run(spec) { try await $0.untilExit().text } == "model = \"m\"\n")
    for (name, content) in files {
      let path = "\(directory.root)/home/\(name)"
      #expect(try Data(contentsOf: URL(filePath: path)) == Data(content))
      #expect(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int == 0o600)
    }
  }

  @Test("a data directory that is deeper than a socket's path may be is no hindrance")
  func deep() async throws {
    var spec = directory.spec(["/bin/echo", "deep"])
    spec.directory = directory.root + String(repeating: "/a-rather-long-name", count: 12)
    #expect(spec.directory.utf8.count > 200)
    #expect(try await directory.run(spec) { try await $0.untilExit().text } == "deep\n")
  }

  @Test("a shim that is not there is an error that names the harness's start, not a wait without end")
  func noShim() async throws {
    let backend = ProcessSandbox(shim: "\(directory.root)/no-shim", environment: [:])
    let error = await #expect(throws: CentaurError.self) { try await backend.start(directory.spec(["/bin/cat"])) }
    #expect(error?.code == .harnessStart)
    let broken = ProcessSandbox(shim: "/bin/false", environment: [:])
    let other = await #expect(throws: CentaurError.self) { try await broken.start(directory.spec(["/bin/cat"])) }
    #expect(other?.code == .harnessStart)
  }

  @Test("who starts the server is told that nothing is isolated")
  func notice() throws {
    let backend = ProcessSandbox(shim: ShimBinary.path, environment: [:])
    #expect(backend.name == "process")
    #expect(try #require(backend.startupNotice).contains("nothing is isolated"))
  }
}
