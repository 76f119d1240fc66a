import Foundation
import Glibc
import Testing

@testable import Sandbox

/// Directories of sessions as a whole, whatever agents have put there.
struct TreeTests {
  @Test("a tree of any depth, with any rights, is removed, and nothing that its links name")
  func removal() async throws {
    let place = try TemporaryPlace()
    defer { place.remove() }
    try place.write("kept/file", "x")
    try place.write("session/workspace/a/b/c", "x")
    try place.link("session/workspace/a/out", to: "../../../kept")
    // Deeper than any path can be long.
    try place.run(
      "cd session && for n in $(seq 300); do mkdir -p aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa && cd -P aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done; echo x > end"
    )
    try #require(chmod("\(place.path)/session/workspace/a/b", 0) == 0)
    try #require(chmod("\(place.path)/session/workspace/a", 0o500) == 0)
    try await Tree.discard("\(place.path)/session", trash: "\(place.path)/trash")
    #expect(try place.entries() == ["kept", "trash"])
    #expect(try place.entries("trash").isEmpty && place.entries("kept") == ["file"])
  }

  @Test("what an earlier server left to be removed goes with the next")
  func leftover() async throws {
    let place = try TemporaryPlace()
    defer { place.remove() }
    try place.write("trash/old/file", "x")
    try place.write("session/file", "x")
    try await Tree.discard("\(place.path)/session", trash: "\(place.path)/trash")
    #expect(try place.entries("trash").isEmpty)
    try await Tree.discard("\(place.path)/session", trash: "\(place.path)/trash")
  }

  @Test("a tree's size is that of its files")
  func size() async throws {
    let place = try TemporaryPlace()
    defer { place.remove() }
    #expect(await Tree.size("\(place.path)/none") == 0)
    try place.write("tree/a/b", String(repeating: "x", count: 100_000))
    try place.write("elsewhere", String(repeating: "x", count: 1_000_000))
    try place.link("tree/out", to: "..")
    let size = await Tree.size("\(place.path)/tree")
    #expect((100_000..<200_000).contains(size))
  }
}
