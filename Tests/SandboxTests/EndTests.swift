import Foundation
import Glibc
import SessionModel
import ShimProtocol
import Testing

@testable import Sandbox

/// An end that is told wrong is a turn that fails for no reason; one that is not made is a process that works on, and
/// costs, for nobody.
@Suite(.timeLimit(.minutes(30)))
struct EndTests {
  private let directory: SandboxDirectory

  init() throws { directory = try SandboxDirectory() }

  private func pids(_ text: String) throws -> [pid_t] {
    try text.split(separator: "\n").map { try #require(pid_t($0)) }
  }

  @Test("the harness's status and the end of its complaints are told after all output")
  func status() async throws {
    try await directory.run(script: "seq 1 50000; echo 'no such model' >&2; exit 3") { sandbox in
      let heard = try await sandbox.untilExit()
      #expect(heard.output.count == 288_894)
      #expect(heard.exit == ShimExit(status: 3, signal: nil, stderrTail: "no such model\n"))
      #expect(try String(contentsOfFile: "\(directory.shim)/exit", encoding: .utf8) == "{\"status\":3}\n")
    }
  }

  @Test("a harness that was killed is told by its signal")
  func killed() async throws {
    try await directory.run(script: "echo last words; kill -KILL $$") { sandbox in
      let heard = try await sandbox.untilExit()
      #expect(heard.text == "last words\n")
      #expect(heard.exit == ShimExit(status: nil, signal: SIGKILL, stderrTail: ""))
      #expect(try String(contentsOfFile: "\(directory.shim)/exit", encoding: .utf8) == "{\"signal\":9}\n")
    }
  }

  @Test("of many complaints the last are told, and the disk does not fill with them")
  func manyComplaints() async throws {
    try await directory.run(script: "seq 1 100000 >&2; echo the end >&2; exit 1") { sandbox in
      let tail = try #require(try await sandbox.untilExit().exit?.stderrTail)
      #expect(tail.utf8.count <= 4096)
      #expect(tail.hasSuffix("\n100000\nthe end\n"))
      let kept = try ["stderr", "stderr.1"].map { name in
        try FileManager.default.attributesOfItem(atPath: "\(directory.shim)/\(name)")[.size] as? Int ?? 0
      }
      #expect(kept.reduce(0, +) < 500_000)
    }
  }

  @Test("what a turn started ends with it, though it hid; the harness and what it had before stay")
  func sweep() async throws {
    let script = """
      sleep 6000 & echo $!; read line; setsid sh -c 'sleep 6000 & echo $!; exec sleep 6000' & echo $!
      read line; echo still here; exec cat
      """
    try await directory.run(script: script) { sandbox in
      try await sandbox.attach { link, listener in
        let kept = try pids(try await listener.listen { $0.text.hasSuffix("\n") }.text)
        try await link.keep()
        try await link.send(inputID: "a", bytes: Array("go\n".utf8))
        let heard = try await listener.listen { $0.text.split(separator: "\n").count == 3 }
        let started = try pids(heard.text).filter { !kept.contains($0) }
        #expect(started.count == 2 && started.allSatisfy(isRunning))
        try await link.sweep()
        try await link.send(inputID: "b", bytes: Array("go\n".utf8))
        // Told after the sweep: inputs and it keep their order.
        let after = try await listener.listen { $0.text.hasSuffix("still here\n") }
        #expect(after.isSwept)
        #expect(!started.contains(where: isRunning))
        #expect(kept.allSatisfy(isRunning))
      }
    }
  }

  @Test("a shell whose command is swept does not go on with its next one: that of a cancelled turn may be anything")
  func noNextCommand() async throws {
    let script = """
      read line; for n in $(seq 40); do sh -c 'sleep 6000 & echo $!; wait $!; echo late; sleep 6000' & done
      read line; echo still here; exec cat
      """
    try await directory.run(script: script) { sandbox in
      try await sandbox.attach { link, listener in
        try await link.keep()
        try await link.send(inputID: "a", bytes: Array("go\n".utf8))
        let heard = try await listener.listen { $0.text.split(separator: "\n").count == 40 }
        #expect(try pids(heard.text).allSatisfy(isRunning))
        try await link.sweep()
        try await link.send(inputID: "b", bytes: Array("go\n".utf8))
        let after = try await listener.listen { $0.text.hasSuffix("still here\n") }
        #expect(!after.text.contains("late"))
      }
    }
  }

  @Test("a process whose first thread has ended is swept like any other, with all that it started")
  func headless() async throws {
    let program = """
      import os, subprocess, threading, time, ctypes
      child = subprocess.Popen(["sleep", "6000"])
      print(child.pid, flush=True)
      print(os.getpid(), flush=True)
      threading.Thread(target=time.sleep, args=(6000,)).start()
      ctypes.CDLL(None).syscall(60, 0)
      """
    try directory.write("headless.py", program)
    let script = "read line; python3 \(directory.root)/headless.py & read line; echo still here; exec cat"
    try await directory.run(script: script) { sandbox in
      try await sandbox.attach { link, listener in
        try await link.keep()
        try await link.send(inputID: "a", bytes: Array("go\n".utf8))
        let started = try pids(try await listener.listen { $0.text.split(separator: "\n").count == 2 }.text)
        try await link.sweep()
        try await link.send(inputID: "b", bytes: Array("go\n".utf8))
        _ = try await listener.listen { $0.text.hasSuffix("still here\n") }
        for pid in started { #expect(!isRunning(pid)) }
        let state = try? String(contentsOfFile: "/proc/\(started[1])/status", encoding: .utf8)
        #expect(state?.contains("Threads:\t2") != true)
      }
    }
  }

  @Test("where something is faster than the sweep, the sandbox ends, and it with it")
  func chain() async throws {
    // Each link of the chain lives for a moment only, and is gone before it can be killed.
    let program = """
      import os, time
      end = time.monotonic() + 40
      while time.monotonic() < end:
          if os.fork():
              os._exit(0)
      """
    try directory.write("chain.py", program)
    let script = "read line; echo ready; python3 \(directory.root)/chain.py & exec cat"
    try await directory.run(script: script) { sandbox in
      try await sandbox.attach { link, listener in
        try await link.keep()
        try await link.send(inputID: "a", bytes: Array("go\n".utf8))
        _ = try await listener.listen { $0.text == "ready\n" }
        try await link.sweep()
        try await link.send(inputID: "b", bytes: Array("still here\n".utf8))
        // Whichever was faster: the harness goes on without it, or everything has ended.
        _ = try await listener.listen { $0.exit != nil || $0.text.hasSuffix("still here\n") }
      }
    }
  }

  @Test("a command that does not exist ends with 127 and says why")
  func noCommand() async throws {
    try await directory.run(["/nonexistent/harness", "--fast"]) { sandbox in
      let (harness, heard) = try await sandbox.attach { link, listener in
        (link.hello.harnessPID, try await listener.listen { $0.exit != nil })
      }
      #expect(harness == 0)
      #expect(heard.output.isEmpty)
      #expect(heard.exit?.status == 127)
      #expect(heard.exit?.stderrTail == "/nonexistent/harness: No such file or directory\n")
    }
  }

  @Test("a file that cannot be executed ends with 127 and says why")
  func notExecutable() async throws {
    try directory.write("home/harness", "echo no")
    try await directory.run(["\(directory.root)/home/harness"]) { sandbox in
      let exit = try await sandbox.untilExit().exit
      #expect(exit?.status == 127)
      #expect(exit?.stderrTail == "\(directory.root)/home/harness: Permission denied\n")
    }
  }

  @Test("a signal reaches the harness and what it runs in its group")
  func signal() async throws {
    let script = "trap 'echo interrupted; exit 5' INT; sh -c 'echo ready; exec sleep 1000'"
    try await directory.run(script: script) { sandbox in
      let heard = try await sandbox.attach { link, listener in
        try await listener.listen { $0.text == "ready\n" }
        try await link.signal(SIGINT)
        return try await listener.listen { $0.exit != nil }
      }
      #expect(heard.text == "ready\ninterrupted\n")
      #expect(heard.exit?.status == 5)
    }
  }

  @Test("stopping ends the harness and everything that it started, even what hid in a session of its own")
  func stop() async throws {
    let script = """
      setsid sleep 1000 & echo $!
      setsid sh -c 'trap "" TERM INT HUP; (sleep 1000 & echo $!); echo $$; while :; do sleep 1000; done' &
      echo $$
      exec sleep 1000
      """
    let (started, shim) = try await directory.run(script: script) { sandbox in
      try await sandbox.attach { link, listener in
        let heard = try await listener.listen { $0.text.split(separator: "\n").count == 4 }
        return (heard.text, link.hello.shimPID)
      }
    }
    for pid in try pids(started) { #expect(!isRunning(pid)) }
    #expect(!isRunning(shim))
    #expect(!FileManager.default.fileExists(atPath: "\(directory.shim)/socket"))
  }

  @Test("stopping ends a harness that does not want to end")
  func stubborn() async throws {
    let script = "trap '' TERM INT HUP; echo $$; while :; do sleep 1000; done"
    let pid = try await directory.run(script: script) { sandbox in
      try await sandbox.attach { _, listener in try await listener.listen { $0.text.hasSuffix("\n") } }.text
    }
    for pid in try pids(pid) { #expect(!isRunning(pid)) }
  }

  @Test("what a harness leaves behind ends with it")
  func leftBehind() async throws {
    try await directory.run(script: "setsid sleep 1000 & echo $!; exit 0") { sandbox in
      let heard = try await sandbox.untilExit()
      #expect(heard.exit?.status == 0)
      let left = try pids(heard.text)
      #expect(left.count == 1)
      await sandbox.stop()
      for pid in left { #expect(!isRunning(pid)) }
    }
  }

  @Test("processes that were left behind and print for ever do not hide the harness's end", arguments: ["", ">&2"])
  func leftBehindAndLoud(_ redirection: String) async throws {
    let loud = String(repeating: "setsid yes \(redirection) & ", count: 3)
    try await directory.run(script: loud + "sleep 0.05; exit 6") { sandbox in
      let end = try await sandbox.attach(offset: 1 << 40) { _, listener in
        try await listener.listen { $0.exit != nil }.exit
      }
      #expect(end?.status == 6)
    }
  }

  @Test("one who was cancelled while he stops a sandbox leaves nothing of it behind either")
  func stopCancelled() async throws {
    try await directory.run(script: "echo $$; exec sleep 1000") { sandbox in
      let (text, shim) = try await sandbox.attach { link, listener in
        (try await listener.listen { $0.text.hasSuffix("\n") }.text, link.hello.shimPID)
      }
      let stopping = Task {
        withUnsafeCurrentTask { $0?.cancel() }
        await sandbox.stop()
      }
      await stopping.value
      for pid in try pids(text) + [shim] { #expect(!isRunning(pid)) }
    }
  }

  @Test("a shim that cannot be reached any more is ended as well")
  func unreachable() async throws {
    try await directory.run(script: "echo $$; exec sleep 1000") { sandbox in
      let (text, shim) = try await sandbox.attach { link, listener in
        (try await listener.listen { $0.text.hasSuffix("\n") }.text, link.hello.shimPID)
      }
      try FileManager.default.removeItem(atPath: "\(directory.shim)/socket")
      await sandbox.stop()
      for pid in try pids(text) + [shim] { #expect(!isRunning(pid)) }
    }
  }

  @Test("stopping twice, or what is gone already, is no error")
  func stopTwice() async throws {
    try await directory.run(["/bin/cat"]) { sandbox in
      await sandbox.stop()
      await sandbox.stop()
      let error = await #expect(throws: CentaurError.self) { try await sandbox.untilExit() }
      #expect(error?.code == .harnessStart)
    }
    let backend = ProcessSandbox(shim: ShimBinary.path, environment: [:])
    #expect(await backend.stopLeftover(directory: directory.shim, fence: .max))
    #expect(await backend.stopLeftover(directory: "\(directory.root)/nowhere", fence: .max))
  }

  @Test("a server that starts ends what an earlier one left, by its directory")
  func leftover() async throws {
    let pid = try await directory.run(script: "echo $$; exec sleep 1000") { sandbox in
      let heard = try await sandbox.attach { _, listener in try await listener.listen { $0.text.hasSuffix("\n") } }
      _ = await ProcessSandbox(shim: ShimBinary.path, environment: [:])
        .stopLeftover(directory: directory.shim, fence: .max)
      for pid in try pids(heard.text) { #expect(!isRunning(pid)) }
      return heard.text
    }
    #expect(try pids(pid).count == 1)
  }

  @Test("a shim that no server comes to ends its harness and itself")
  func orphan() async throws {
    try FileManager.default.createDirectory(atPath: directory.shim, withIntermediateDirectories: true)
    let shim = try ShimBinary.start([
      "run", "--dir", directory.shim, "--cwd", "\(directory.root)/work", "--orphan-after", "1", "--", "/bin/sh", "-c",
      "setsid sleep 1000 & exec sleep 1000",
    ])
    #expect(await ShimBinary.end(of: shim) == 0)
    #expect(try String(contentsOfFile: "\(directory.shim)/exit", encoding: .utf8) == "{\"signal\":15}\n")
    #expect(!FileManager.default.fileExists(atPath: "\(directory.shim)/socket"))
    let left = try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap { pid_t($0) }.filter { pid in
      let cwd = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/cwd")
      return cwd == "\(directory.root)/work" && isRunning(pid)
    }
    #expect(left.isEmpty)
  }
}
