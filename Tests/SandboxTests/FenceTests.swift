import SessionModel
import ShimProtocol
import Testing

@testable import Sandbox

/// Two servers that both believe that a sandbox is theirs: only the newer one may be heard.
@Suite(.timeLimit(.minutes(30)))
struct FenceTests {
  private let directory: SandboxDirectory

  init() throws { directory = try SandboxDirectory() }

  @Test("a newer server takes the place of an older one, which is told so by the end of its connection")
  func displaced() async throws {
    try await directory.run(["/bin/cat"]) { sandbox in
      try await sandbox.attach(fence: 1) { old, events in
        try await old.send(inputID: "old", bytes: Array("old ".utf8))
        try await events.listen { $0.text == "old " }
        let heard = try await sandbox.attach(fence: 2) { new, events in
          try await new.send(inputID: "new", bytes: Array("new".utf8))
          return try await events.listen { $0.text == "old new" }
        }
        #expect(heard.accepted == ["new"])
        await #expect(throws: Listener.Ended.self) { try await events.listen { _ in false } }
      }
    }
  }

  @Test("a server that comes back with the fence that it had takes the place of its own broken connection")
  func sameFence() async throws {
    try await directory.run(["/bin/cat"]) { sandbox in
      try await sandbox.attach(fence: 5) { _, events in
        let heard = try await sandbox.attach(fence: 5) { new, events in
          try await new.send(inputID: "new", bytes: Array("new".utf8))
          return try await events.listen { $0.text == "new" && $0.accepted == ["new"] }
        }
        #expect(heard.text == "new")
        await #expect(throws: Listener.Ended.self) { try await events.listen { _ in false } }
      }
    }
  }

  @Test("an older server is refused while a newer one is there, and what it says does not reach the harness")
  func refused() async throws {
    try await directory.run(["/bin/cat"]) { sandbox in
      let heard = try await sandbox.attach(fence: 2) { new, events in
        try await new.send(inputID: "a", bytes: Array("a".utf8))
        try await events.listen { $0.text == "a" }
        let refusal = await #expect(throws: CentaurError.self) {
          try await sandbox.attach(fence: 1) { old, events in
            try await old.send(inputID: "stale", bytes: Array("stale".utf8))
            try await old.signal(9)
            try await events.listen { _ in false }
          }
        }
        #expect(refusal?.code == .leaseLost)
        try await new.send(inputID: "b", bytes: Array("b".utf8), closesInput: true)
        return try await events.listen { $0.exit != nil }
      }
      #expect(heard.text == "ab")
      #expect(heard.exit?.status == 0)
      #expect(try await sandbox.attach(fence: 2) { link, _ in link.hello.takenInputIDs } == ["a", "b"])
    }
  }

  @Test(
    "an older server cannot end a newer one's sandbox, nor take it while that one is away", arguments: [true, false])
  func ended(isThere: Bool) async throws {
    try await directory.run(["/bin/cat"]) { sandbox in
      let backend = ProcessSandbox(shim: ShimBinary.path, environment: [:])
      @Sendable func fails() async throws {
        #expect(await sandbox.stop(fence: 1) == false)
        #expect(await backend.stopLeftover(directory: directory.shim, fence: 1) == false)
        let refusal = await #expect(throws: CentaurError.self) {
          try await sandbox.attach(fence: 1) { _, events in try await events.listen { _ in false } }
        }
        #expect(refusal?.code == .leaseLost)
      }
      try await sandbox.attach(fence: 2) { new, events in
        if isThere { try await fails() }
        try await new.send(inputID: "a", bytes: Array("a".utf8))
        try await events.listen { $0.text == "a" }
      }
      if !isThere { try await fails() }
      let heard = try await sandbox.attach(fence: 2) { _, events in try await events.listen { $0.text == "a" } }
      #expect(heard.exit == nil)
      #expect(await sandbox.stop(fence: 2))
      #expect(try await SpooledOutput(sandbox: directory.shim).read(from: 0) == Array("a".utf8))
    }
  }
}
