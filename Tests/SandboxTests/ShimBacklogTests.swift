import FoundationEssentials
import Sandbox
import SessionModel
import ShimProtocol
import Testing

@Suite struct ShimBacklogTests {
  /// The shim lies beside the tests' own program.
  private var shim: String {
    get throws {
      let tests = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
      return URL(filePath: tests).deletingLastPathComponent().appending(path: "centaur-shim").path
    }
  }

  @Test("all that a harness printed reaches a server that comes later, though the harness says nothing more")
  func backlogArrivesWhole() async throws {
    let name = "shim-backlog-\(UInt32.random(in: 0...UInt32.max))"
    let root = FileManager.default.temporaryDirectory.appending(path: name).path
    defer { try? FileManager.default.removeItem(atPath: root) }
    for name in ["workspace", "home", "tmp"] {
      try FileManager.default.createDirectory(atPath: "\(root)/\(name)", withIntermediateDirectories: true)
    }
    let size = 32 << 20
    let sandbox = try await ProcessSandbox(shim: shim, environment: ["PATH": "/usr/bin:/bin"]).start(
      SandboxSpec(
        id: "backlog", directory: "\(root)/sandbox", workspace: "\(root)/workspace", home: "\(root)/home",
        temporary: "\(root)/tmp",
        // Silent after its output, and there until its input ends.
        command: ["/bin/sh", "-c", "head -c \(size) /dev/zero; touch done; exec cat"], environment: [:], files: [:]))
    while !FileManager.default.fileExists(atPath: "\(root)/workspace/done") {
      try await Task.sleep(for: .milliseconds(5))
    }
    try await sandbox.withLink(fence: 1, offset: 0) { _, events in
      var events = events
      var received: Int64 = 0
      while received < size, let event = try await events.next() {
        guard case .output(let offset, let bytes) = event else { continue }
        #expect(offset == received)
        received += Int64(bytes.count)
      }
      #expect(received == size)
    }
    await sandbox.stop()
  }
}
