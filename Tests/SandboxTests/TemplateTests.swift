import Foundation
import Glibc
import Testing

@testable import Sandbox

/// A session's workspace that begins as a copy of a directory.
struct TemplateTests {
  private static func make(_ place: TemporaryPlace, limit: Int = 1 << 30) async throws {
    try await Workspace.make("\(place.path)/workspace", from: .template("\(place.path)/template"), limit: limit)
  }

  @Test("a copy has the template's files, links, modes and times, and what is written to it stays in it")
  func copy() async throws {
    let place = try TemporaryPlace()
    defer { place.remove() }
    try place.write("template/a.txt", "hello")
    try place.write("template/bin/tool", "#!/bin/sh", mode: 0o755)
    try place.write("template/locked/secret", "quiet", mode: 0o400)
    try place.link("template/there", to: "bin/tool")
    try place.link("template/away", to: "/etc/hostname")
    try #require(chmod("\(place.path)/template/locked", 0o500) == 0)
    try #require(
      utimes("\(place.path)/template/a.txt", [timeval(tv_sec: 1000, tv_usec: 0), timeval(tv_sec: 2000, tv_usec: 0)])
        == 0)
    try await Self.make(place)
    #expect(try place.entries("workspace") == ["a.txt", "away", "bin", "locked", "there"])
    #expect(place.read("workspace/a.txt") == "hello")
    #expect(place.mode("workspace/bin/tool") == 0o755)
    #expect(place.mode("workspace/locked") == 0o500 && place.mode("workspace/locked/secret") == 0o400)
    let files = FileManager.default
    #expect(try files.destinationOfSymbolicLink(atPath: "\(place.path)/workspace/there") == "bin/tool")
    #expect(try files.destinationOfSymbolicLink(atPath: "\(place.path)/workspace/away") == "/etc/hostname")
    var status = stat()
    #expect(stat("\(place.path)/workspace/a.txt", &status) == 0 && status.st_mtim.tv_sec == 2000)
    #expect(status.st_nlink == 1)
    try place.write("workspace/a.txt", "changed")
    try place.write("workspace/bin/new", "new")
    #expect(place.read("template/a.txt") == "hello")
    #expect(try place.entries("template/bin") == ["tool"])
    try #require(chmod("\(place.path)/template/locked", 0o700) == 0)
    try #require(chmod("\(place.path)/workspace/locked", 0o700) == 0)
  }

  @Test("a large file is copied whole")
  func large() async throws {
    let place = try TemporaryPlace()
    defer { place.remove() }
    try place.write("template/large", String(repeating: "0123456789", count: 300_000))
    try await Self.make(place)
    #expect(place.read("workspace/large") == place.read("template/large"))
  }

  @Test("hard links of the template are files of their own in the copy")
  func hardLinks() async throws {
    let place = try TemporaryPlace()
    defer { place.remove() }
    try place.write("template/a", "one")
    try #require(link("\(place.path)/template/a", "\(place.path)/template/b") == 0)
    try await Self.make(place)
    try place.run("printf two > workspace/a")
    #expect(place.read("workspace/b") == "one" && place.read("template/a") == "one")
  }

  @Test("devices, pipes and sockets are left out, set-id bits are dropped")
  func special() async throws {
    let place = try TemporaryPlace()
    defer { place.remove() }
    try place.write("template/tool", "x", mode: 0o6755)
    try #require(mkfifo("\(place.path)/template/pipe", 0o600) == 0)
    try await Self.make(place)
    #expect(try place.entries("workspace") == ["tool"])
    #expect(place.mode("workspace/tool") == 0o755)
  }

  @Test("a template that its owner may not write gives a workspace that the agent can write")
  func readOnlyRoot() async throws {
    let place = try TemporaryPlace()
    defer { place.remove() }
    try place.write("template/a", "x")
    try #require(chmod("\(place.path)/template", 0o555) == 0)
    try await Self.make(place)
    #expect(place.mode("workspace") == 0o755)
    try #require(chmod("\(place.path)/template", 0o755) == 0)
  }

  @Test("a template of the limit's size is copied, a larger one is refused and nothing of it stays")
  func limit() async throws {
    let place = try TemporaryPlace()
    defer { place.remove() }
    try place.write("template/a", String(repeating: "x", count: 600))
    try place.write("template/b/c", String(repeating: "x", count: 400))
    let failure = await #expect(throws: WorkspaceFailure.self) { try await Self.make(place, limit: 999) }
    #expect(failure?.message == "its template is larger than the limit of 999 bytes.")
    #expect(try place.entries() == ["template"])
    try await Self.make(place, limit: 1000)
    #expect(try place.entries() == ["template", "workspace"])
  }

  @Test("what cannot be copied is not left half made, and the next attempt may succeed")
  func missing() async throws {
    let place = try TemporaryPlace()
    defer { place.remove() }
    let failure = await #expect(throws: WorkspaceFailure.self) { try await Self.make(place) }
    #expect(failure?.message == "its template cannot be copied.")
    #expect(try place.entries().isEmpty)
    try place.write("template/a", "x")
    // What an earlier server left unfinished is no workspace.
    try place.write("workspace.new/half", "x")
    try await Self.make(place)
    #expect(try place.entries() == ["template", "workspace"] && place.entries("workspace") == ["a"])
  }

  @Test("a workspace that is there stays as it is")
  func once() async throws {
    let place = try TemporaryPlace()
    defer { place.remove() }
    try place.write("template/a", "x")
    try place.write("workspace/mine", "x")
    try await Self.make(place)
    #expect(try place.entries("workspace") == ["mine"])
  }

  @Test("an empty workspace is the session's own")
  func empty() async throws {
    let place = try TemporaryPlace()
    defer { place.remove() }
    try await Workspace.make("\(place.path)/workspace", from: .empty, limit: 1)
    #expect(try place.entries("workspace").isEmpty && place.mode("workspace") == 0o700)
  }
}
