/// What a new session's workspace begins with.
public enum WorkspaceSource: Sendable, Hashable {
  case empty
  /// A copy of a directory, by its absolute path.
  case template(String)
  /// A clone of a local Git repository, by its absolute path, at a branch, a tag or a commit; nil: what its `HEAD` is.
  case git(directory: String, ref: String?)

  /// Whether a text can be the name of a branch, a tag or a commit, and nothing that `git` would take for an option, a
  /// range or an expression (git-check-ref-format).
  public static func isRef(_ text: String) -> Bool {
    let refused = ["..", "@{", "//", "/.", ".lock/"]
    let isPlain = text.unicodeScalars.allSatisfy {
      $0.value > 0x20 && $0.value != 0x7F && !"~^:?*[\\".unicodeScalars.contains($0)
    }
    return isPlain && !text.isEmpty && text.utf8.count <= 255 && text != "@" && !refused.contains { text.contains($0) }
      && !["-", "/", "."].contains { text.hasPrefix($0) } && !["/", ".", ".lock"].contains { text.hasSuffix($0) }
  }

  /// Whether a text names a place on another machine rather than a directory of this one, as `git` reads it:
  /// `https://…`, `host:path`, `transport::address`.
  public static func isRemote(_ text: String) -> Bool {
    guard let colon = text.firstIndex(of: ":") else { return false }
    return !text[..<colon].contains("/")
  }
}

/// Why a workspace could not be made.
public struct WorkspaceFailure: Error, Sendable, Hashable {
  /// For the client; names no path.
  public let message: String
  /// For the server's log.
  public let detail: String

  init(_ message: String, detail: String = "") {
    self.message = message
    self.detail = detail
  }
}
