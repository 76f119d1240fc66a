import Glibc

/// The directory in which a session's agent works: its making.
public enum Workspace {
  /// Makes a session's workspace, unless it is there. It appears whole or not at all: half a copy would be taken for the
  /// workspace the next time.
  ///
  /// One call at a time for one path.
  /// - Parameters:
  ///   - path: absolute; what lies above it exists.
  ///   - limit: of a template or a clone, in bytes
  ///   - timeout: of a clone
  /// - Throws: `WorkspaceFailure`
  public static func make(
    _ path: String, from source: WorkspaceSource, limit: Int, timeout: Duration = .seconds(300)
  ) async throws {
    if access(path, F_OK) == 0 { return }
    let unfinished = "\(path).new"
    let trash = "\(path).trash"
    do {
      try await Tree.discard(unfinished, trash: trash)
      switch source {
      case .empty:
        guard mkdir(unfinished, 0o700) == 0 else { throw SystemFailure() }
      case .template(let template):
        try await blocking {
          var copy = TreeCopy(limit: limit)
          try copy.copy(template, to: unfinished)
        }
      case .git(let repository, let ref):
        try await GitClone(
          repository: repository, ref: ref, target: unfinished, limit: limit, timeout: timeout
        ).make()
      }
      guard rename(unfinished, path) == 0 else { throw SystemFailure() }
      rmdir(trash)
    } catch {
      try? await Tree.discard(unfinished, trash: trash)
      rmdir(trash)
      throw error as? WorkspaceFailure ?? WorkspaceFailure("it cannot be made.", detail: "\(error)")
    }
  }

  /// Looks whether a workspace can begin with `source`, without making one: whether what is to be copied or cloned is
  /// there, and for this user to read. Not how much it is.
  /// - Parameter scratch: a directory in which files may be made
  /// - Throws: `WorkspaceFailure`
  public static func check(_ source: WorkspaceSource, scratch: String) async throws {
    switch source {
    case .empty: break
    case .template(let template):
      do {
        let directory = try Descriptor.opened(open(template, O_RDONLY | O_DIRECTORY | O_CLOEXEC))
        guard faccessat(directory.number, ".", R_OK | X_OK, 0) == 0 else { throw SystemFailure() }
      } catch {
        throw WorkspaceFailure("its template cannot be copied.", detail: "\(template): \(error)")
      }
    case .git(let repository, let ref):
      let target = "\(scratch)/workspace-\(getpid())-check"
      try await GitClone(
        repository: repository, ref: ref, target: target, limit: .max, timeout: .seconds(30)
      ).check()
    }
  }
}
