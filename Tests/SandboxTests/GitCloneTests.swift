import Foundation
import Testing

@testable import Sandbox

/// A session's workspace that begins as a clone of a repository on this machine.
struct GitCloneTests {
  /// A repository with a branch `main` (two commits, the first tagged `v1`) and a branch `topic/x`.
  private static func repository() throws -> TemporaryPlace {
    let place = try TemporaryPlace()
    try place.run(
      """
      git init -q -b main origin && cd origin
      echo one > file && git add . && git commit -q -m one && git tag v1
      echo two > file && git commit -q -a -m two
      git checkout -q -b topic/x && echo topic > file && git commit -q -a -m topic
      git checkout -q main
      """)
    return place
  }

  private static func make(
    _ place: TemporaryPlace, _ ref: String?, limit: Int = 1 << 30, timeout: Duration = .seconds(300)
  ) async throws {
    try await Workspace.make(
      "\(place.path)/workspace", from: .git(directory: "\(place.path)/origin", ref: ref), limit: limit,
      timeout: timeout)
  }

  @Test(
    "a branch is checked out as one, a tag and a commit without one",
    arguments: [
      (nil, "two", "main"), ("main", "two", "main"), ("topic/x", "topic", "topic/x"),
      ("refs/heads/topic/x", "topic", "topic/x"), ("v1", "one", "HEAD"), ("refs/tags/v1", "one", "HEAD"),
    ] as [(String?, String, String)])
  func refs(_ ref: String?, _ content: String, _ head: String) async throws {
    let place = try Self.repository()
    defer { place.remove() }
    try await Self.make(place, ref)
    #expect(place.read("workspace/file") == "\(content)\n")
    #expect(try place.run("git -C workspace rev-parse --abbrev-ref HEAD") == head)
    #expect(try place.run("git -C workspace status --porcelain") == "")
    #expect(place.mode("workspace") == 0o700)
    #expect(try place.entries() == ["origin", "workspace"])
  }

  @Test("a commit is found by its id")
  func commit() async throws {
    let place = try Self.repository()
    defer { place.remove() }
    let id = try place.run("git -C origin rev-parse main~1")
    try await Self.make(place, id)
    #expect(try place.run("git -C workspace rev-parse HEAD") == id)
    #expect(place.read("workspace/file") == "one\n")
  }

  @Test("the clone knows the other branches and has no way back to its origin")
  func origin() async throws {
    let place = try Self.repository()
    defer { place.remove() }
    try await Self.make(place, nil)
    #expect(try place.run("git -C workspace remote") == "")
    #expect(try place.run("git -C workspace log -1 --format=%s origin/topic/x") == "topic")
    #expect(try place.run("grep -r origin workspace/.git/config || true") == "")
    // Nothing of it is shared.
    #expect(try place.run("find workspace -type f -links +1") == "")
    #expect(try place.run("ls workspace/.git/objects/info") == "")
    try place.run("cd workspace && echo mine > file && git -c user.name=a -c user.email=a@a commit -q -a -m mine")
    #expect(try place.run("git -C origin log --format=%s main") == "two\none")
  }

  @Test("a bare repository is cloned like any other")
  func bare() async throws {
    let place = try Self.repository()
    defer { place.remove() }
    try place.run("git clone -q --bare origin bare && rm -rf origin && mv bare origin")
    try await Self.make(place, "topic/x")
    #expect(place.read("workspace/file") == "topic\n")
  }

  @Test("hooks and templates of the machine, and submodules, are not followed")
  func nothingRuns() async throws {
    let place = try Self.repository()
    defer { place.remove() }
    try place.run(
      """
      mkdir -p hooks && printf '#!/bin/sh\\ntouch %s/ran\\n' "$PWD" > hooks/post-checkout && chmod +x hooks/post-checkout
      cp hooks/post-checkout origin/.git/hooks/post-checkout
      git config --global core.hooksPath "$PWD/hooks"
      git init -q other && cd other && git -c core.hooksPath=/dev/null commit -q --allow-empty -m other && cd ..
      cd origin && git -c core.hooksPath=/dev/null -c protocol.file.allow=always submodule -q add "$PWD/../other" sub
      git -c core.hooksPath=/dev/null commit -q -m sub
      rm -f ../ran
      """)
    try await Self.make(place, "main")
    #expect(!place.exists("ran"))
    #expect(try place.entries("workspace/sub").isEmpty)
  }

  @Test("a ref that is not there is told, and the next attempt may succeed")
  func unknownRef() async throws {
    let place = try Self.repository()
    defer { place.remove() }
    let failure = await #expect(throws: WorkspaceFailure.self) { try await Self.make(place, "nowhere") }
    #expect(failure?.message == "its repository has no branch, tag or commit 'nowhere'.")
    #expect(try place.entries() == ["origin"])
    try place.run("git -C origin branch nowhere v1")
    try await Self.make(place, "nowhere")
    #expect(place.read("workspace/file") == "one\n")
  }

  @Test("what is no repository is told without its path")
  func noRepository() async throws {
    let place = try TemporaryPlace()
    defer { place.remove() }
    let missing = await #expect(throws: WorkspaceFailure.self) { try await Self.make(place, nil) }
    #expect(missing?.message == "its repository is not there.")
    try place.write("origin/file", "x")
    let plain = await #expect(throws: WorkspaceFailure.self) { try await Self.make(place, nil) }
    #expect(plain?.message == "git could not clone its repository." && plain?.detail.contains("fatal:") == true)
    #expect(try place.entries() == ["origin"])
  }

  @Test("a repository that is too large is refused and nothing of it stays")
  func limit() async throws {
    let place = try Self.repository()
    defer { place.remove() }
    try place.run("cd origin && head -c 2000000 /dev/urandom > large && git add . && git commit -q -m large")
    let failure = await #expect(throws: WorkspaceFailure.self) { try await Self.make(place, nil, limit: 1_000_000) }
    #expect(failure?.message == "its repository is larger than the limit of 1000000 bytes.")
    #expect(try place.entries() == ["origin"])
  }

  @Test("a clone that takes too long is ended with all that it started")
  func timeout() async throws {
    let place = try Self.repository()
    defer { place.remove() }
    // Whoever reads it waits for ever.
    try place.run("rm origin/.git/HEAD && mkfifo origin/.git/HEAD")
    let failure = await #expect(throws: WorkspaceFailure.self) {
      try await Self.make(place, nil, timeout: .milliseconds(200))
    }
    #expect(failure?.message.hasPrefix("git did not clone its repository within") == true)
    #expect(try place.entries() == ["origin"])
    #expect(try place.run("pgrep -f '[g]it.*\(place.path.dropFirst(5))' || true") == "")
  }

  @Test(
    "a text that git would take for something else is no ref",
    arguments: [
      "", "-b", "--upload-pack=touch x", "a..b", "a b", "a~1", "a^", "a:b", "a?", "a*", "a[", "a\\b", "@", "@{1}", "/a",
      "a/", "a//b", ".a", "a/.b", "a.", "a.lock", "a.lock/b", "a\u{7F}", "a\nb", String(repeating: "a", count: 256),
    ])
  func noRefs(_ text: String) { #expect(!WorkspaceSource.isRef(text)) }

  @Test("names of branches, tags and commits are refs", arguments: ["main", "topic/x", "v1.2", "0a1b2c", "ä", "a-b_c"])
  func someRefs(_ text: String) { #expect(WorkspaceSource.isRef(text)) }
}
