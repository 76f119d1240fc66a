import FoundationEssentials
import Logging
import Sandbox
import SessionModel
import Synchronization
import Testing

@testable import ControlPlane

/// A session's rest, and the end of its files.
struct ArchiveTests {
  private static let key = "test:a"

  private static func status(_ world: World) async throws -> Session.Status {
    try await world.controlPlane.session(owner: .local, key: ThreadKey(key)).status
  }

  private static func archive(_ world: World, force: Bool = false) async throws -> Session {
    try await within { try await world.controlPlane.archive(owner: .local, key: ThreadKey(key), force: force) }
  }

  private static func remove(_ world: World, force: Bool = false) async throws -> Session {
    try await within { try await world.controlPlane.remove(owner: .local, key: ThreadKey(key), force: force) }
  }

  @Test("an archived session has no process, keeps its files, and says so in its log once")
  func archive() async throws {
    try await World.run { world in
      _ = try await world.run("count done; say one", key: Self.key)
      let shims = try await world.shims(of: Self.key)
      #expect(shims.count == 1)
      #expect(try await Self.archive(world).status == .archived)
      #expect(try await world.leftovers(of: Self.key).isEmpty)
      #expect(try await Self.archive(world).status == .archived)
      #expect(try await world.kinds(Self.key).suffix(2) == ["sandbox.stopped", "session.archived"])
      #expect(try await Self.status(world) == .archived)
      #expect(try await world.lines("done", of: Self.key).count == 1)
    }
  }

  @Test("a turn brings an archived session back, with its workspace and its conversation")
  func comesBack() async throws {
    try await World.run { world in
      _ = try await world.run("count done; say one", key: Self.key)
      _ = try await Self.archive(world)
      #expect(try await world.run("count done; recall", key: Self.key).texts == ["count done; say one"])
      #expect(try await Self.status(world) == .active)
      #expect(try await world.lines("done", of: Self.key).count == 2)
      #expect(try await world.log(Self.key).sandboxes == [.cold, .resumed])
      #expect(try await world.log(Self.key).isDense)
    }
  }

  @Test("a message that waits for its turn brings an archived session back too")
  func message() async throws {
    try await World.run { world in
      _ = try await world.run("say one", key: Self.key)
      _ = try await Self.archive(world)
      _ = try await world.controlPlane.append(.said("later"), owner: .local, key: ThreadKey(Self.key))
      #expect(try await Self.status(world) == .active)
    }
  }

  @Test("a session is archived in the next server too")
  func restart() async throws {
    try await World.run(hasServer: false) { world in
      let first = world.startServer("first")
      _ = try await within { try await first.controlPlane.submit(.sdk("say one", key: Self.key)).finished() }
      _ = try await first.controlPlane.archive(owner: .local, key: ThreadKey(Self.key), force: false)
      try await first.shutDown()
      let second = world.startServer("second")
      #expect(try await second.controlPlane.session(owner: .local, key: ThreadKey(Self.key)).status == .archived)
      let again = try await second.controlPlane.archive(owner: .local, key: ThreadKey(Self.key), force: false)
      #expect(again.status == .archived)
      let kinds = try await world.kinds(Self.key)
      #expect(kinds.filter { $0 == "session.archived" }.count == 1)
      try await second.shutDown()
    }
  }

  @Test("a session at work is archived only by force, which ends its turns")
  func busy() async throws {
    try await World.run { world in
      let turn = try await world.submit(.sdk("gate go; say one", key: Self.key))
      try await world.wait(Self.key) { $0.isCommandStart }
      let waiting = try await world.submit(.sdk("say two", key: Self.key))
      for body in [Self.archive, Self.remove] {
        let error = await #expect(throws: CentaurError.self) { try await body(world, false) }
        #expect(error?.code == .sessionBusy)
      }
      #expect(try await Self.status(world) == .active)
      #expect(try await Self.archive(world, force: true).status == .archived)
      #expect(try await turn.finished().ends == ["cancelled (archived)"])
      #expect(try await waiting.finished().ends(of: waiting) == ["cancelled (archived)"])
      #expect(try await world.leftovers(of: Self.key).isEmpty)
      #expect(try await world.kinds(Self.key).last == "session.archived")
      #expect(try await world.run("say three", key: Self.key).texts == ["three"])
    }
  }

  @Test("a session that is not there cannot be archived")
  func unknown() async throws {
    try await World.run { world in
      for body in [Self.archive, Self.remove] {
        let error = await #expect(throws: CentaurError.self) { try await body(world, true) }
        #expect(error?.code == .sessionNotFound)
      }
    }
  }

  @Test("a removed session's files are gone, its log is not, and a turn begins anew with what was said")
  func remove() async throws {
    try await World.run { world in
      _ = try await world.run("count done; say one", key: Self.key)
      let workspace = try await world.workspace(Self.key)
      #expect(try await Self.remove(world).status == .archived)
      #expect(!FileManager.default.fileExists(atPath: workspace + "/.."))
      #expect(try FileManager.default.contentsOfDirectory(atPath: "\(world.data)/trash").isEmpty)
      let log = try await world.log(Self.key)
      #expect(log.isDense && log.texts == ["one"])
      #expect(log.suffix(2).map(\.payload.kind) == ["session.archived", "warning"])
      #expect(try await Self.remove(world).status == .archived)
      #expect(try await world.log(Self.key) == log)
      let stored = try await world.controlPlane.session(owner: .local, key: ThreadKey(Self.key))
      #expect(stored.harnessState == JSONValue?.none)
      let events = try await world.run("count done; recall", key: Self.key)
      #expect(events.texts == ["user: count done; say one | assistant: one"])
      #expect(try await world.lines("done", of: Self.key).count == 1)
      #expect(try await world.log(Self.key).sandboxes == [.cold, .cold])
      #expect(try await Self.status(world) == .active)
    }
  }

  // MARK: Retention

  /// A clock that a test moves.
  private final class Clock: Sendable {
    private let offset = Mutex<Duration>(.zero)
    var wall: WallClock { WallClock { WallClock.system.now + self.offset.withLock { $0 } } }
    func advance(_ duration: Duration) { offset.withLock { $0 += duration } }
  }

  @Test("an archived session's files go when their time has come, no sooner, and another's never")
  func retention() async throws {
    try await World.run(hasServer: false) { world in
      let clock = Clock()
      // The sweep of the service itself comes once an hour.
      let node = world.startServer("node", clock: clock.wall) { $0.retention = .seconds(30 * 86400) }
      let controlPlane = node.controlPlane
      for key in ["test:a", "test:b", "test:c"] {
        _ = try await within { try await controlPlane.submit(.sdk("count done", key: key)).finished() }
      }
      for key in ["test:a", "test:b"] {
        _ = try await controlPlane.archive(owner: .local, key: ThreadKey(key), force: false)
      }
      let workspaces = [
        try await world.workspace("test:a"), try await world.workspace("test:b"), try await world.workspace("test:c"),
      ]
      func kept() -> [Bool] { workspaces.map { FileManager.default.fileExists(atPath: $0) } }
      clock.advance(.seconds(29 * 86400))
      await controlPlane.sweep()
      #expect(kept() == [true, true, true])
      // One is used meanwhile.
      _ = try await within { try await controlPlane.submit(.sdk("count done", key: "test:b")).finished() }
      clock.advance(.seconds(2 * 86400))
      await controlPlane.sweep()
      #expect(kept() == [false, true, true])
      let log = try await world.log("test:a")
      #expect(log.last?.payload.isFilesRemoved == true)
      await controlPlane.sweep()
      #expect(try await world.log("test:a") == log)
      clock.advance(.seconds(400 * 86400))
      await controlPlane.sweep()
      #expect(kept() == [false, true, true])
      try await node.shutDown()
    }
  }

  @Test("files that a server which died was about to remove go with the next sweep")
  func halfRemoved() async throws {
    try await World.run(hasServer: false) { world in
      let clock = Clock()
      let node = world.startServer("node", clock: clock.wall) { $0.retention = .seconds(86400) }
      _ = try await within { try await node.controlPlane.submit(.sdk("say one", key: Self.key)).finished() }
      let session = try await node.controlPlane.remove(owner: .local, key: ThreadKey(Self.key), force: false)
      // As if the log had been written, and the files not removed.
      try FileManager.default.createDirectory(
        atPath: "\(world.data)/sessions/\(session.id)/workspace", withIntermediateDirectories: true)
      let log = try await world.log(Self.key)
      await node.controlPlane.sweep()
      #expect(!FileManager.default.fileExists(atPath: "\(world.data)/sessions/\(session.id)"))
      #expect(try await world.log(Self.key) == log)
      try await node.shutDown()
    }
  }

  @Test("without a retention time everything is kept")
  func forEver() async throws {
    try await World.run(hasServer: false) { world in
      let clock = Clock()
      let node = world.startServer("node", clock: clock.wall)
      _ = try await within { try await node.controlPlane.submit(.sdk("count done", key: Self.key)).finished() }
      _ = try await node.controlPlane.archive(owner: .local, key: ThreadKey(Self.key), force: false)
      clock.advance(.seconds(100 * 365 * 86400))
      await node.controlPlane.sweep()
      #expect(try await world.lines("done", of: Self.key).count == 1)
      try await node.shutDown()
    }
  }

  // MARK: Files

  @Test("files come in before the first turn, into the workspace that the turn would have begun with")
  func filesBeforeTurn() async throws {
    let template = "/tmp/centaur-template-\(UInt32.random(in: 0 ... .max))"
    try FileManager.default.createDirectory(atPath: template, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: template) }
    #expect(FileManager.default.createFile(atPath: "\(template)/rules", contents: Data("be kind\n".utf8)))
    try await World.run(hasServer: false) { world in
      let node = world.startServer("node") { $0.workspace = .template(template) }
      let controlPlane = node.controlPlane
      let key = try ThreadKey(Self.key)
      _ = try await controlPlane.openSession(
        owner: .local, key: key, harness: nil, persona: nil, instructions: nil, origin: "session_api")
      let none = await #expect(throws: CentaurError.self) {
        try await controlPlane.files(owner: .local, key: key, makes: false)
      }
      #expect(none?.code == .fileNotFound)
      // Several at once: the workspace is made once.
      try await withThrowingTaskGroup(of: Void.self) { group in
        for number in 0..<8 {
          group.addTask {
            let files = try await controlPlane.files(owner: .local, key: key, makes: true)
            var upload = try await files.write(WorkspacePath(percentEncoded: "in/\(number)"), limit: 100)
            try await upload.write(Array("x\n".utf8))
            try await upload.finish()
          }
        }
        try await group.waitForAll()
      }
      let turn = try await within { try await controlPlane.submit(.sdk("count rules; count in/3", key: Self.key)) }
      _ = try await turn.finished()
      #expect(try await world.lines("rules", of: Self.key) == ["be kind", "x"])
      #expect(try await world.lines("in/3", of: Self.key) == ["x", "x"])
      #expect(try await world.lines("in/7", of: Self.key) == ["x"])
      try await node.shutDown()
    }
  }

  @Test("where workspaces begin with something, no sandbox waits that would have an older copy of it")
  func noPool() async throws {
    try await World.run(hasServer: false) { world in
      func pool(_ workspace: WorkspaceSource) -> WarmPool? {
        var configuration = world.configuration("node", world.harnesses)
        configuration.warmPool = [World.scripted: 1]
        configuration.workspace = workspace
        return WarmPool(
          .init(
            store: world.store, sandboxes: ProcessSandbox(shim: World.shim, environment: [:]),
            capacity: SandboxCapacity(limit: 4, turns: 4), configuration: configuration, clock: .system,
            ids: IdentifierSource { 1 }, metrics: DriveMetrics(),
            logger: Logger(label: "pool") { _ in SwiftLogNoOpLogHandler() }))
      }
      #expect(pool(.empty) != nil)
      #expect(pool(.template("/srv/template")) == nil)
      #expect(pool(.git(directory: "/srv/repository", ref: nil)) == nil)
    }
  }

  @Test("an archived session's files can be read, and nothing is put among them that would go unseen")
  func archivedFiles() async throws {
    try await World.run { world in
      _ = try await world.run("count done", key: Self.key)
      _ = try await Self.archive(world)
      let key = try ThreadKey(Self.key)
      _ = try await world.controlPlane.files(owner: .local, key: key, makes: false)
      let error = await #expect(throws: CentaurError.self) {
        try await world.controlPlane.files(owner: .local, key: key, makes: true)
      }
      #expect(error?.code == .sessionArchived)
      #expect(await world.controlPlane.workspaceSize(try world.controlPlane.session(owner: .local, key: key).id) > 0)
    }
  }

  @Test("a workspace that cannot be made fails the turn, and the next one tries again")
  func triesAgain() async throws {
    let template = "/tmp/centaur-template-\(UInt32.random(in: 0 ... .max))"
    defer { try? FileManager.default.removeItem(atPath: template) }
    try await World.run(hasServer: false) { world in
      let node = world.startServer("node") { $0.workspace = .template(template) }
      func run() async throws -> [String] {
        try await within { try await node.controlPlane.submit(.sdk("count rules", key: Self.key)).finished() }.ends
      }
      #expect(try await run() == ["failed (workspace_failed)"])
      try FileManager.default.createDirectory(atPath: template, withIntermediateDirectories: true)
      #expect(FileManager.default.createFile(atPath: "\(template)/rules", contents: Data("be kind\n".utf8)))
      #expect(try await run() == ["completed"])
      #expect(try await world.lines("rules", of: Self.key) == ["be kind", "x"])
      try await node.shutDown()
    }
  }
}
