import Glibc
import SessionModel

/// A file on its way into a workspace: written under a name of its own beside its place, and there at once when it is
/// whole. One that is given up leaves nothing.
///
/// Concurrency: for one task, which writes, then finishes or gives up.
public struct WorkspaceUpload: Sendable {
  /// Whether nothing had this name before.
  public let isNew: Bool
  /// So far, in bytes.
  public private(set) var size = 0
  private let name: [CChar]
  private let temporary: [CChar]
  private let directory: Descriptor
  private let file: Descriptor
  private let mode: mode_t
  private let limit: Int

  init(_ name: [CChar], in directory: Descriptor, mode: mode_t, isNew: Bool, limit: Int) throws {
    self.name = name
    self.directory = directory
    self.mode = mode
    self.isNew = isNew
    self.limit = limit
    let text = ".centaur-upload-\(String(UInt64.random(in: 0 ... .max), radix: 16))"
    temporary = WorkspacePath.cString(Array(text.utf8))
    let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
    file = try Descriptor.opened(openat(directory.number, temporary, flags, 0o600))
  }

  /// - Throws: `CentaurError` with `fileTooLarge`, `fileFailed`
  public mutating func write(_ bytes: [UInt8]) async throws {
    size += bytes.count
    guard size <= limit else { throw WorkspaceFiles.tooLarge(limit) }
    let file = file
    try await translating {
      var rest = bytes[...]
      while !rest.isEmpty {
        let written = rest.withUnsafeBytes { Glibc.write(file.number, $0.baseAddress, $0.count) }
        guard written >= 0 || errno == EINTR else { throw SystemFailure() }
        rest = rest.dropFirst(max(0, written))
      }
    }
  }

  /// Puts the file in its place, in the place of one that was there. When this returns it is on the disk.
  /// - Throws: `CentaurError` with `fileConflict`, `fileFailed`
  public func finish() async throws {
    try await translating { [self] in
      guard fchmod(file.number, mode) == 0, fsync(file.number) == 0,
        renameat(directory.number, temporary, directory.number, name) == 0
      else { throw SystemFailure() }
    }
  }

  public func giveUp() { _ = unlinkat(directory.number, temporary, 0) }

  private func translating(_ body: @escaping @Sendable () throws -> Void) async throws {
    do { try await blocking(body) } catch let failure as SystemFailure { throw WorkspaceFiles.error(failure) }
  }
}
