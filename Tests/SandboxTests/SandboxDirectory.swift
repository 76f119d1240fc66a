import CShimSystem
import Dispatch
import Foundation
import Glibc
import Sandbox
import ShimProtocol
import Synchronization
import Testing

/// The real shim, which the build puts beside the program of the tests.
enum ShimBinary {
  static let path: String = {
    let program = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
    var directory = program.deletingLastPathComponent()
    while directory.path != "/" {
      let candidate = directory.appending(path: "centaur-shim").path
      if FileManager.default.isExecutableFile(atPath: candidate) { return candidate }
      directory = directory.deletingLastPathComponent()
    }
    preconditionFailure("centaur-shim is not beside \(program.path): build the package first")
  }()

  /// Starts it with these arguments, for a test that has no sandbox.
  static func start(_ arguments: [String]) throws -> pid_t {
    let null = open("/dev/null", O_RDWR | O_CLOEXEC)
    defer { close(null) }
    var copies = ([path] + arguments).map { strdup($0) }
    copies.append(nil)
    defer { for copy in copies { free(copy) } }
    var environment: [UnsafeMutablePointer<CChar>?] = [strdup("PATH=/usr/bin:/bin"), nil]
    defer { free(environment[0]) }
    var pid: pid_t = 0
    try #require(centaur_spawn(path, copies, &environment, nil, null, null, null, 1, &pid) == 0)
    return pid
  }

  /// Waits until it has ended, on a thread of its own: its status, as the C library says it.
  static func end(of pid: pid_t) async -> Int32 {
    await withCheckedContinuation { continuation in
      DispatchQueue.global().async {
        var status: Int32 = 0
        waitpid(pid, &status, 0)
        continuation.resume(returning: status)
      }
    }
  }
}

/// The directories of one sandbox, which go when the test ends.
final class SandboxDirectory: Sendable {
  let root: String
  /// Of the sandbox; control groups are named by it.
  let id = "test-\(UUID().uuidString)"

  init() throws {
    let root = FileManager.default.temporaryDirectory.appending(path: "centaur-sandbox-\(UUID().uuidString)")
    self.root = root.path
    for name in ["work", "home", "tmp"] {
      try FileManager.default.createDirectory(at: root.appending(path: name), withIntermediateDirectories: true)
    }
  }

  deinit { try? FileManager.default.removeItem(atPath: root) }

  /// The shim's own files.
  var shim: String { "\(root)/shim" }

  func spec(
    _ command: [String], environment: [String: String] = [:], files: [String: [UInt8]] = [:],
    orphanAfter: Duration = .seconds(600)
  ) -> SandboxSpec {
    SandboxSpec(
      id: id, directory: shim, workspace: "\(root)/work", home: "\(root)/home", temporary: "\(root)/tmp",
      command: command, environment: environment, files: files, orphanAfter: orphanAfter)
  }

  /// Runs a command as the harness of a sandbox, which is stopped when `body` ends.
  func run<T: Sendable>(_ command: [String], _ body: (any SandboxHandle) async throws -> T) async throws -> T {
    try await run(spec(command), body)
  }

  func run<T: Sendable>(_ spec: SandboxSpec, _ body: (any SandboxHandle) async throws -> T) async throws -> T {
    let environment = ["PATH": "/usr/local/bin:/usr/bin:/bin"]
    return try await run(spec, in: ProcessSandbox(shim: ShimBinary.path, environment: environment), body)
  }

  func run<T: Sendable>(
    _ spec: SandboxSpec, in backend: any SandboxBackend, _ body: (any SandboxHandle) async throws -> T
  ) async throws -> T {
    let sandbox = try await backend.start(spec)
    do {
      let result = try await body(sandbox)
      await sandbox.stop()
      return result
    } catch {
      await sandbox.stop()
      throw error
    }
  }

  /// Runs a shell script likewise.
  func run<T: Sendable>(script: String, _ body: (any SandboxHandle) async throws -> T) async throws -> T {
    try await run(["/bin/sh", "-c", script], body)
  }
}

extension SandboxHandle {
  /// As the newest server of all.
  func stop() async { #expect(await stop(fence: .max)) }

  /// Attaches, and brings out what `body` has found.
  func attach<T: Sendable>(
    fence: Int64 = 1, offset: Int64 = 0, _ body: @escaping @Sendable (ShimLink, inout Listener) async throws -> T
  ) async throws -> T {
    let found = Mutex<T?>(nil)
    try await withLink(fence: fence, offset: offset) { link, events in
      var listener = Listener(events, offset: offset)
      let value = try await body(link, &listener)
      found.withLock { $0 = value }
    }
    return try #require(found.withLock { $0 })
  }

  /// All that the harness prints from `offset` on, and its end.
  func untilExit(fence: Int64 = 1, offset: Int64 = 0) async throws -> Listener.Heard {
    try await attach(fence: fence, offset: offset) { _, listener in
      try await listener.listen { $0.exit != nil }
    }
  }
}

/// Puts together what a shim tells; each piece of output must follow the one before it.
struct Listener: Sendable {
  struct Heard: Sendable {
    var output: [UInt8] = []
    var accepted: [String] = []
    var exit: ShimExit?
    var isSwept = false
    var text: String { String(decoding: output, as: UTF8.self) }
  }

  private var events: ShimEvents
  private var offset: Int64
  private(set) var heard = Heard()

  init(_ events: ShimEvents, offset: Int64) {
    self.events = events
    self.offset = offset
  }

  /// Listens until enough was heard, all in all.
  /// - Throws: `Ended` where the connection ends before
  @discardableResult
  mutating func listen(until isEnough: (Heard) -> Bool) async throws -> Heard {
    while !isEnough(heard) {
      guard let event = try await events.next() else { throw Ended(heard: heard) }
      switch event {
      case .output(let at, let bytes):
        #expect(at == offset)
        #expect(heard.exit == nil, "output after the harness's end was told")
        offset = at + Int64(bytes.count)
        heard.output += bytes
      case .accepted(let id): heard.accepted.append(id)
      case .swept: heard.isSwept = true
      case .exited(let exit): heard.exit = exit
      }
    }
    return heard
  }

  struct Ended: Error {
    var heard: Heard
  }
}

/// Whether a process is there and not merely waiting to be collected.
func isRunning(_ pid: pid_t) -> Bool {
  guard let stat = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
    let end = stat.lastIndex(of: ")")
  else { return false }
  let state = stat[stat.index(after: end)...].split(separator: " ").first
  return state != "Z" && state != "X"
}

extension SandboxDirectory {
  func write(_ name: String, _ text: String) throws {
    try text.write(toFile: "\(root)/\(name)", atomically: true, encoding: .utf8)
  }
}

/// What is written to a named pipe until its writer closes it. Waits on a thread of its own for a writer to come.
func readToEnd(_ path: String) async throws -> String {
  try await withCheckedThrowingContinuation { continuation in
    DispatchQueue.global().async {
      continuation.resume(
        with: Result {
          let pipe = FileHandle(fileDescriptor: open(path, O_RDONLY), closeOnDealloc: true)
          return String(decoding: try pipe.readToEnd() ?? Data(), as: UTF8.self)
        })
    }
  }
}
