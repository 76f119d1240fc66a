import CShimSystem
import Glibc

/// The copy of a template's directory.
///
/// Files share their blocks with the template where the file system can (reflinks), and are copied elsewhere. Hard links
/// would be cheaper still and are never made: who writes through one writes to the template. Links stay links, modes and
/// times are kept, set-id bits are dropped, and what is neither file, directory nor link is left out.
struct TreeCopy {
  /// In bytes.
  let limit: Int
  private var copied = 0

  private static let deepest = 256

  init(limit: Int) { self.limit = limit }

  /// - Parameter target: does not exist.
  /// - Throws: `WorkspaceFailure`
  mutating func copy(_ source: String, to target: String) throws(WorkspaceFailure) {
    do {
      // The template's own name may be a link; what is in it is not followed.
      let from = try Descriptor.opened(open(source, O_RDONLY | O_DIRECTORY | O_CLOEXEC))
      guard mkdir(target, 0o700) == 0 else { throw SystemFailure() }
      try copy(from, to: try Descriptor.directory(target), depth: 0)
    } catch let failure as WorkspaceFailure {
      throw failure
    } catch {
      throw WorkspaceFailure("its template cannot be copied.", detail: "\(source): \(error)")
    }
  }

  private mutating func copy(_ from: Descriptor, to: Descriptor, depth: Int) throws {
    guard depth < Self.deepest else { throw WorkspaceFailure("its template is nested too deep.") }
    try from.entries { name in
      let status = try from.status(of: name)
      switch status.kind {
      case .directory:
        guard mkdirat(to.number, name, 0o700) == 0 else { throw SystemFailure() }
        let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
        try copy(
          try Descriptor.opened(openat(from.number, name, flags)),
          to: try Descriptor.opened(openat(to.number, name, flags)), depth: depth + 1)
      case .file: try copyFile(name, from, to)
      case .link: try copyLink(name, from, to)
      case .other: break
      }
    }
    let status = try from.status()
    // The agent must get into its own workspace, whatever the template's rights are.
    try finish(to, status, mode: depth == 0 ? status.st_mode | 0o700 : status.st_mode)
  }

  private mutating func copyFile(_ name: [CChar], _ from: Descriptor, _ to: Descriptor) throws {
    let source = try Descriptor.opened(openat(from.number, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC))
    let status = try source.status()
    guard status.kind == .file else { return }
    guard Int(status.st_size) <= limit - copied else {
      throw WorkspaceFailure("its template is larger than the limit of \(limit) bytes.")
    }
    copied += Int(status.st_size)
    let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
    let target = try Descriptor.opened(openat(to.number, name, flags, 0o600))
    let error = centaur_copy_file(source.number, target.number)
    guard error == 0 else { throw SystemFailure(error) }
    try finish(target, status, mode: status.st_mode)
  }

  private func copyLink(_ name: [CChar], _ from: Descriptor, _ to: Descriptor) throws {
    var target = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
    guard readlinkat(from.number, name, &target, Int(PATH_MAX)) >= 0 else { throw SystemFailure() }
    guard symlinkat(target, to.number, name) == 0 else { throw SystemFailure() }
  }

  private func finish(_ copy: Descriptor, _ status: stat, mode: mode_t) throws {
    guard fchmod(copy.number, mode & 0o1777) == 0 else { throw SystemFailure() }
    _ = futimens(copy.number, [status.st_atim, status.st_mtim])
  }
}
