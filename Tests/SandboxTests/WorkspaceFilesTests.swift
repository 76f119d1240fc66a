import CShimSystem
import Foundation
import Glibc
import SessionModel
import Testing

@testable import Sandbox

/// Files into and out of a workspace: all of what is in it, and nothing that is not.
struct WorkspaceFilesTests {
  /// A workspace, with a secret beside it.
  private static func make() async throws -> (place: TemporaryPlace, files: WorkspaceFiles) {
    let place = try TemporaryPlace()
    try place.write("secret", "the key")
    try place.write("secrets/key", "the key")
    try place.write("workspace/sub/file", "hello")
    return (place, try await WorkspaceFiles(workspace: "\(place.path)/workspace"))
  }

  private static func path(_ text: String) throws -> WorkspacePath { try WorkspacePath(percentEncoded: text) }

  private static func content(_ files: WorkspaceFiles, _ name: String, limit: Int = 1000) async throws -> String {
    guard case .file(let file) = try await files.find(path(name), limit: limit) else { return "a directory" }
    return String(decoding: try await file.read(at: 0, atMost: file.size), as: UTF8.self)
  }

  @discardableResult
  private static func put(
    _ files: WorkspaceFiles, _ name: String, _ text: String, limit: Int = 1000
  ) async throws -> Bool {
    var upload = try await files.write(path(name), limit: limit)
    do {
      // In pieces, as it comes.
      for piece in text.utf8.map({ [$0] }) { try await upload.write(piece) }
      try await upload.finish()
    } catch {
      upload.giveUp()
      throw error
    }
    return upload.isNew
  }

  private static func code(_ body: () async throws -> Void) async -> CentaurError.Code? {
    do { try await body() } catch { return (error as? CentaurError)?.code }
    return nil
  }

  @Test("a file is read, written, written over and removed")
  func file() async throws {
    let (place, files) = try await Self.make()
    defer { place.remove() }
    #expect(try await Self.content(files, "sub/file") == "hello")
    #expect(try await Self.put(files, "new/deep/file", "one"))
    #expect(place.read("workspace/new/deep/file") == "one" && place.mode("workspace/new/deep/file") == 0o644)
    try #require(chmod("\(place.path)/workspace/new/deep/file", 0o755) == 0)
    #expect(try await !Self.put(files, "new/deep/file", "two"))
    #expect(place.read("workspace/new/deep/file") == "two" && place.mode("workspace/new/deep/file") == 0o755)
    try await files.remove(Self.path("new/deep/file"))
    #expect(try place.entries("workspace/new/deep").isEmpty)
    try await files.remove(Self.path("new/deep"))
    #expect(await Self.code { try await files.remove(Self.path("new/deep")) } == .fileNotFound)
    #expect(await Self.code { try await files.remove(Self.path("sub")) } == .fileConflict)
    #expect(await Self.code { _ = try await Self.content(files, "new/deep") } == .fileNotFound)
  }

  @Test("a directory is listed by name, with what each entry is")
  func listing() async throws {
    let (place, files) = try await Self.make()
    defer { place.remove() }
    try place.write("workspace/b", "12345")
    try place.link("workspace/a", to: "b")
    try #require(mkfifo("\(place.path)/workspace/pipe", 0o600) == 0)
    guard case .directory(let entries, let hasMore) = try await files.find(Self.path(""), limit: 1) else {
      Issue.record("the workspace is no directory")
      return
    }
    #expect(!hasMore && entries.map(\.name) == ["a", "b", "pipe", "sub"])
    #expect(entries.map(\.kind) == [.link, .file, .other, .directory])
    #expect(entries[1].size == 5)
    guard case .directory(let inner, _) = try await files.find(Self.path("sub"), limit: 1) else { return }
    #expect(inner.map(\.name) == ["file"])
  }

  @Test("a session without a workspace has no files")
  func none() async throws {
    let error = await #expect(throws: CentaurError.self) {
      try await WorkspaceFiles(workspace: "/nonexistent/workspace")
    }
    #expect(error?.code == .fileNotFound)
  }

  @Test("links within the workspace are followed, those that lead out of it are refused")
  func links() async throws {
    let (place, files) = try await Self.make()
    defer { place.remove() }
    try place.link("workspace/inside", to: "sub/file")
    try place.link("workspace/directory", to: "sub")
    try place.link("workspace/sub/up", to: "../sub/file")
    for (name, target) in [
      ("out", "../secret"), ("absolute", "\(place.path)/secret"), ("self", "\(place.path)/workspace/sub/file"),
      ("outside", "../secrets"), ("loop", "loop"), ("proc", "/proc/self/root"), ("far", "sub/../../secret"),
    ] { try place.link("workspace/\(name)", to: target) }
    #expect(try await Self.content(files, "inside") == "hello")
    #expect(try await Self.content(files, "directory/file") == "hello")
    #expect(try await Self.content(files, "sub/up") == "hello")
    for name in ["out", "absolute", "self", "outside", "outside/key", "loop", "proc", "proc/etc/passwd", "far"] {
      #expect(await Self.code { _ = try await Self.content(files, name) } == .fileOutside, "\(name)")
    }
    for name in ["outside/new", "outside/deep/new", "proc/tmp/new", "loop/new"] {
      #expect(await Self.code { try await Self.put(files, name, "x") } == .fileOutside, "\(name)")
    }
    #expect(await Self.code { try await files.remove(Self.path("outside/key")) } == .fileOutside)
    #expect(place.read("secrets/key") == "the key")
    #expect(try place.entries("secrets") == ["key"])
    // Through a directory that a link in the workspace names, as a program in it would.
    try await Self.put(files, "directory/more", "more")
    #expect(place.read("workspace/sub/more") == "more")
  }

  @Test("a file that is put where a link is takes the link's place, and what it pointed at stays")
  func overLink() async throws {
    let (place, files) = try await Self.make()
    defer { place.remove() }
    try place.link("workspace/out", to: "../secret")
    #expect(try await !Self.put(files, "out", "mine"))
    #expect(place.read("secret") == "the key" && place.read("workspace/out") == "mine")
    try place.link("workspace/dangling", to: "../../created")
    try await Self.put(files, "dangling", "mine")
    #expect(!place.exists("created"))
    try place.link("workspace/gone", to: "../secret")
    try await files.remove(Self.path("gone"))
    #expect(place.read("secret") == "the key" && !place.exists("workspace/gone"))
  }

  @Test("a directory that becomes a link while a file is on its way takes the file nowhere else")
  func swapped() async throws {
    let (place, files) = try await Self.make()
    defer { place.remove() }
    var upload = try await files.write(Self.path("sub/file"), limit: 100)
    try await upload.write(Array("mine".utf8))
    try place.run("mv workspace/sub workspace/moved && ln -s ../secrets workspace/sub")
    try await upload.finish()
    #expect(place.read("workspace/moved/file") == "mine")
    #expect(try place.entries("secrets") == ["key"])
    #expect(await Self.code { _ = try await Self.content(files, "sub/key") } == .fileOutside)
  }

  @Test("however an agent swaps a directory for a link meanwhile, nothing from outside is read or written")
  func race() async throws {
    let (place, files) = try await Self.make()
    defer { place.remove() }
    try place.write("workspace/sub/key", "mine")
    try place.link("workspace/other", to: "../secrets")
    // Exchanged in one step, so that the name is always there, as the one or as the other.
    typealias Exchange = @convention(c) (Int32, UnsafePointer<CChar>, Int32, UnsafePointer<CChar>, UInt32) -> Int32
    let exchange = unsafeBitCast(try #require(dlsym(dlopen(nil, RTLD_NOW), "renameat2")), to: Exchange.self)
    let (one, two) = ("\(place.path)/workspace/sub", "\(place.path)/workspace/other")
    let swaps = Task.detached {
      var count = 0
      while !Task.isCancelled { count += exchange(AT_FDCWD, one, AT_FDCWD, two, 2) == 0 ? 1 : 0 }
      return count
    }
    for round in 0..<400 {
      if let text = try? await Self.content(files, "sub/key") { #expect(text == "mine" || text == "put") }
      _ = try? await Self.put(files, "sub/key", "put")
      _ = try? await Self.put(files, "sub/new\(round)", "put")
      _ = try? await files.remove(Self.path("sub/new\(round)"))
    }
    swaps.cancel()
    #expect(await swaps.value > 0)
    #expect(place.read("secrets/key") == "the key")
    #expect(try place.entries("secrets") == ["key"])
  }

  @Test("pipes, sockets and devices are refused at once, and are not opened")
  func special() async throws {
    let (place, files) = try await Self.make()
    defer { place.remove() }
    try #require(mkfifo("\(place.path)/workspace/pipe", 0o600) == 0)
    try place.run("python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"workspace/socket\")'")
    for name in ["pipe", "socket"] {
      #expect(await Self.code { _ = try await Self.content(files, name) } == .fileRefused, "\(name)")
      #expect(await Self.code { try await Self.put(files, name, "x") } == .fileRefused, "\(name)")
    }
    #expect(await Self.code { _ = try await Self.content(files, "pipe/x") } == .fileConflict)
    if mknod("\(place.path)/workspace/zero", S_IFCHR | 0o666, makedev(1, 5)) == 0 {
      #expect(await Self.code { _ = try await Self.content(files, "zero") } == .fileRefused)
      #expect(await Self.code { try await Self.put(files, "zero", "x") } == .fileRefused)
    }
  }

  private func makedev(_ major: UInt64, _ minor: UInt64) -> dev_t { dev_t(major << 8 | minor) }

  @Test("what is in the way is told")
  func conflicts() async throws {
    let (place, files) = try await Self.make()
    defer { place.remove() }
    #expect(await Self.code { try await Self.put(files, "sub", "x") } == .fileConflict)
    #expect(await Self.code { try await Self.put(files, "sub/file/below", "x") } == .fileConflict)
    #expect(await Self.code { _ = try await Self.content(files, "sub/file/below") } == .fileConflict)
    #expect(await Self.code { try await Self.put(files, "", "x") } == .filePathInvalid)
    #expect(await Self.code { try await files.remove(Self.path("")) } == .filePathInvalid)
  }

  @Test("a file of the limit's size goes in and out, a larger one does neither and leaves nothing")
  func limit() async throws {
    let (place, files) = try await Self.make()
    defer { place.remove() }
    for size in [9, 10] {
      try await Self.put(files, "f\(size)", String(repeating: "x", count: size), limit: 10)
      #expect(try await Self.content(files, "f\(size)", limit: 10).count == size)
    }
    #expect(
      await Self.code { try await Self.put(files, "f10", String(repeating: "y", count: 11), limit: 10) }
        == .fileTooLarge)
    #expect(place.read("workspace/f10") == "xxxxxxxxxx")
    try place.write("workspace/f11", "yyyyyyyyyyy")
    #expect(await Self.code { _ = try await Self.content(files, "f11", limit: 10) } == .fileTooLarge)
    #expect(try place.entries("workspace") == ["f10", "f11", "f9", "sub"])
  }

  @Test("half a file is never seen, and one that is given up leaves what was there")
  func whole() async throws {
    let (place, files) = try await Self.make()
    defer { place.remove() }
    var upload = try await files.write(Self.path("sub/file"), limit: 100)
    try await upload.write(Array("half".utf8))
    #expect(place.read("workspace/sub/file") == "hello")
    upload.giveUp()
    #expect(place.read("workspace/sub/file") == "hello")
    #expect(try place.entries("workspace/sub") == ["file"])
  }

  @Test("a kernel without openat2 refuses every link on the way")
  func bySteps() throws {
    let place = try TemporaryPlace()
    defer { place.remove() }
    try place.write("secret", "the key")
    try place.write("workspace/sub/file", "hello")
    try place.link("workspace/out", to: "..")
    try place.link("workspace/sub/key", to: "../../secret")
    let root = try Descriptor.directory("\(place.path)/workspace")
    func number(_ path: String, _ flags: Int32) -> Int32 {
      let descriptor = centaur_open_beneath_by_steps(root.number, path, flags)
      guard descriptor >= 0 else { return errno }
      close(descriptor)
      return 0
    }
    for flags in [O_RDONLY, centaur_o_path] {
      #expect(number("sub/file", flags) == 0 && number("sub", flags) == 0 && number(".", flags) == 0)
      #expect(number("out/secret", flags) == ELOOP && number("out", flags) == ELOOP)
      #expect(number("sub/key", flags) == ELOOP)
      #expect(number("../secret", flags) == EXDEV && number("sub/../../secret", flags) == EXDEV)
      #expect(number("/etc/passwd", flags) == EXDEV && number("sub//file", flags) == EXDEV)
      #expect(number("none", flags) == ENOENT && number("sub/file/x", flags) == ENOTDIR)
      #expect(number(String(repeating: "a", count: 300), flags) == ENAMETOOLONG)
    }
  }
}
