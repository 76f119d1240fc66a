import ShimProtocol
import Testing

@testable import Sandbox

/// A turn that a restarted server sends again must not reach the agent a second time.
@Suite(.timeLimit(.minutes(30)))
struct InputTests {
  private let directory: SandboxDirectory

  init() throws { directory = try SandboxDirectory() }

  @Test("input reaches the harness, and is acknowledged")
  func echo() async throws {
    try await directory.run(["/bin/cat"]) { sandbox in
      let heard = try await sandbox.attach { link, listener in
        try await link.send(inputID: "e/start", bytes: Array("hello\n".utf8))
        return try await listener.listen { $0.text == "hello\n" && !$0.accepted.isEmpty }
      }
      #expect(heard.accepted == ["e/start"])
    }
  }

  @Test("an input that is sent twice is delivered once and acknowledged twice, by one server or by two")
  func twice() async throws {
    try await directory.run(["/bin/cat"]) { sandbox in
      let first = try await sandbox.attach { link, listener in
        try await link.send(inputID: "a", bytes: Array("one ".utf8))
        try await link.send(inputID: "a", bytes: Array("one ".utf8))
        return try await listener.listen { $0.accepted.count == 2 && !$0.output.isEmpty }
      }
      #expect(first.accepted == ["a", "a"])
      let second = try await sandbox.attach(fence: 2) { link, listener in
        try await link.send(inputID: "a", bytes: Array("one ".utf8))
        try await link.send(inputID: "b", bytes: Array("two".utf8), closesInput: true)
        return try await listener.listen { $0.exit != nil }
      }
      #expect(second.accepted == ["a", "b"])
      #expect(second.text == "one two")
    }
  }

  @Test("a server that attaches is told which inputs were taken, in their order")
  func taken() async throws {
    try await directory.run(["/bin/cat"]) { sandbox in
      let before = try await sandbox.attach { link, listener in
        for id in ["z", "a", "z", "m"] { try await link.send(inputID: id, bytes: [1]) }
        try await listener.listen { $0.accepted.count == 4 }
        return link.hello.takenInputIDs
      }
      #expect(before == [])
      #expect(try await sandbox.attach { link, _ in link.hello.takenInputIDs } == ["z", "a", "m"])
    }
  }

  @Test("closing the input lets the harness end by itself, after all that was sent before")
  func closes() async throws {
    try await directory.run(script: "cat; echo over; exit 4") { sandbox in
      let heard = try await sandbox.attach { link, listener in
        try await link.send(inputID: "a", bytes: Array("a\n".utf8))
        try await link.send(inputID: "b", bytes: Array("b\n".utf8), closesInput: true)
        return try await listener.listen { $0.exit != nil }
      }
      #expect(heard.text == "a\nb\nover\n")
      #expect(heard.exit?.status == 4)
    }
  }

  @Test("an input that is larger than any pipe arrives whole, at a harness that reads late")
  func large() async throws {
    let bytes = [UInt8](repeating: UInt8(ascii: "x"), count: 3_000_000)
    try await directory.run(script: "read line; echo $line; wc -c") { sandbox in
      let heard = try await sandbox.attach { link, listener in
        try await link.send(inputID: "large", bytes: Array("go\n".utf8) + bytes, closesInput: true)
        return try await listener.listen { $0.exit != nil }
      }
      // The shell reads its line byte by byte, so that all of the rest is left for `wc`.
      #expect(heard.text == "go\n3000000\n")
      #expect(heard.accepted == ["large"])
    }
  }

  @Test("an input for a harness that is gone is acknowledged, so that nobody waits for it")
  func afterTheEnd() async throws {
    try await directory.run(["/bin/true"]) { sandbox in
      let heard = try await sandbox.attach { link, listener in
        try await listener.listen { $0.exit != nil }
        try await link.send(inputID: "late", bytes: Array("x".utf8))
        return try await listener.listen { !$0.accepted.isEmpty }
      }
      #expect(heard.accepted == ["late"])
    }
  }

  @Test("a harness that closed its input works on when something is sent to it")
  func deaf() async throws {
    try await directory.run(script: "exec <&-; echo deaf; while [ ! -e go ]; do sleep 0.01; done; echo on") { sandbox in
      let heard = try await sandbox.attach { link, listener in
        try await listener.listen { $0.text == "deaf\n" }
        try await link.send(inputID: "a", bytes: Array(repeating: 1, count: 200_000))
        try await listener.listen { $0.accepted == ["a"] }
        try directory.write("work/go", "")
        return try await listener.listen { $0.exit != nil }
      }
      #expect(heard.text == "deaf\non\n")
      #expect(heard.exit?.status == 0)
    }
  }
}
