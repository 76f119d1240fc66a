import SessionModel
import Testing

@testable import Sandbox

/// What a URL may name in a workspace.
struct WorkspacePathTests {
  @Test(
    "a path is decoded once",
    arguments: [
      ("a", ["a"]), ("a/b.txt", ["a", "b.txt"]), ("%61/b%20c", ["a", "b c"]), ("%2561", ["%61"]),
      ("%2e%2e%2e", ["..."]), (".git/config", [".git", "config"]), ("%C3%A4/ä", ["ä", "ä"]), ("a+b", ["a+b"]),
      ("%252e%252e", ["%2e%2e"]), ("", []),
    ])
  func decoded(_ text: String, _ names: [String]) throws {
    #expect(try WorkspacePath(percentEncoded: text).names == names.map { Array($0.utf8) })
  }

  @Test("names need not be text")
  func bytes() throws {
    #expect(try WorkspacePath(percentEncoded: "%FF%FE").names == [[0xFF, 0xFE]])
  }

  @Test(
    "what could lead elsewhere is refused",
    arguments: [
      "..", "a/..", "../a", "a/../b", "%2e%2e", "%2E./a", ".", "./a", "a/.", "/etc/passwd", "a//b", "a/", "/",
      "a%2Fb", "%2fetc", "..%2f..", "a%00", "%00", "%", "a%2", "%zz", "%+1",
      String(repeating: "a", count: 256), String(repeating: "a/", count: 2048) + "a",
    ])
  func refused(_ text: String) {
    let error = #expect(throws: CentaurError.self) { try WorkspacePath(percentEncoded: text) }
    #expect(error?.code == .filePathInvalid)
  }
}
