import CShimSystem
import Glibc
public import SessionModel

/// A session's workspace as its users reach into it from outside, while an agent may work in it.
///
/// Every name is looked up below the workspace's own descriptor (`openat2`, `RESOLVE_BENEATH`), so that nothing that the
/// agent puts there, or changes meanwhile, leads out of it. Files and directories are opened, nothing else ever is.
public struct WorkspaceFiles: Sendable {
  private let root: Descriptor

  /// - Throws: `CentaurError` with `fileNotFound` where the session has no workspace yet
  public init(workspace: String) async throws {
    do {
      root = try await blocking { try Descriptor.directory(workspace) }
    } catch {
      throw CentaurError(.fileNotFound, "The session has no workspace yet: it begins with its first turn or file.")
    }
  }

  /// A file or a directory that was found.
  public enum Found: Sendable {
    case file(WorkspaceFile)
    case directory([Entry], hasMore: Bool)
  }

  /// What a directory holds.
  public struct Entry: Sendable, Hashable {
    public enum Kind: String, Sendable, Hashable {
      case file
      case directory
      case link
      case other
    }

    /// What is not UTF-8 is replaced.
    public var name: String
    public var kind: Kind
    /// In bytes.
    public var size: Int
    public var changedAt: Timestamp
  }

  /// A directory that has more entries is listed up to here.
  static let longestListing = 10_000

  /// - Parameter limit: of a file, in bytes
  /// - Throws: `CentaurError` with `fileNotFound`, `fileOutside`, `fileRefused`, `fileTooLarge`
  public func find(_ path: WorkspacePath, limit: Int) async throws -> Found {
    try await translating(path) {
      // What it is comes first: to open a device may already do something.
      let place = try beneath(path.names[...], centaur_o_path)
      let status = try place.status()
      let reopened = "/proc/self/fd/\(place.number)"
      switch status.kind {
      case .directory:
        let directory = try Descriptor.opened(open(reopened, O_RDONLY | O_DIRECTORY | O_CLOEXEC))
        let (entries, hasMore) = try list(directory)
        return .directory(entries, hasMore: hasMore)
      case .file:
        guard status.st_size <= limit else { throw Self.tooLarge(limit) }
        let file = try Descriptor.opened(open(reopened, O_RDONLY | O_CLOEXEC))
        return .file(WorkspaceFile(file, size: Int(status.st_size), changedAt: Timestamp(status.st_mtim)))
      default: throw Self.notAFile
      }
    }
  }

  private func list(_ directory: Descriptor) throws -> ([Entry], Bool) {
    struct Enough: Error {}
    var entries: [Entry] = []
    var hasMore = false
    do {
      try directory.entries { name in
        guard entries.count < Self.longestListing else {
          hasMore = true
          throw Enough()
        }
        // It may be gone again.
        guard let status = try? directory.status(of: name) else { return }
        entries.append(
          Entry(
            name: String(decoding: name.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self), kind: .init(status),
            size: Int(status.st_size), changedAt: Timestamp(status.st_mtim)))
      }
    } catch is Enough {}
    return (entries.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }, hasMore)
  }

  /// Begins the writing of a file; the directories above it are made.
  /// - Parameters:
  ///   - limit: of the file, in bytes
  ///   - mode: nil: that of the file that is there, or 644
  /// - Throws: `CentaurError` with `filePathInvalid`, `fileOutside`, `fileRefused`, `fileConflict`, `fileFailed`
  public func write(_ path: WorkspacePath, limit: Int, mode wanted: UInt32? = nil) async throws -> WorkspaceUpload {
    guard !path.isRoot else {
      throw CentaurError(.filePathInvalid, "The workspace itself cannot be written; name a file.", parameter: "path")
    }
    return try await translating(path) {
      let directory = try makeDirectories(path.parent)
      var mode: mode_t = 0o644
      var isNew = true
      if let there = try? directory.status(of: path.last) {
        isNew = false
        switch there.kind {
        case .file: mode = there.st_mode & 0o777
        case .link: break
        case .directory:
          throw CentaurError(.fileConflict, "There is a directory of this name.", parameter: "path")
        case .other: throw Self.notAFile
        }
      }
      return try WorkspaceUpload(path.last, in: directory, mode: wanted ?? mode, isNew: isNew, limit: limit)
    }
  }

  /// Removes a file, a link or an empty directory.
  /// - Throws: `CentaurError` with `fileNotFound`, `filePathInvalid`, `fileOutside`, `fileConflict`
  public func remove(_ path: WorkspacePath) async throws {
    guard !path.isRoot else {
      throw CentaurError(.filePathInvalid, "The workspace itself goes with its session.", parameter: "path")
    }
    try await translating(path) {
      let directory = try beneath(path.parent, centaur_o_path | O_DIRECTORY)
      let isDirectory = try directory.status(of: path.last).kind == .directory
      guard unlinkat(directory.number, path.last, isDirectory ? AT_REMOVEDIR : 0) == 0 else { throw SystemFailure() }
    }
  }

  /// Moves aside what stands where a file is to be written and is none, and each name on the way that is no directory:
  /// what an agent left there must not keep its session from starting.
  func clear(_ path: WorkspacePath) async throws {
    try await translating(path) {
      for count in 1...max(1, path.names.count) where count <= path.names.count {
        guard let above = try? beneath(path.names.prefix(count - 1), centaur_o_path | O_DIRECTORY) else { return }
        let name = WorkspacePath.cString(path.names[count - 1])
        guard let there = try? above.status(of: name) else { return }
        let isWanted = count == path.names.count ? [.file, .link].contains(there.kind) : there.kind == .directory
        guard !isWanted else { continue }
        let aside = WorkspacePath.cString(
          Array(".centaur-aside-\(String(UInt64.random(in: 0 ... .max), radix: 16))".utf8))
        guard renameat(above.number, name, above.number, aside) == 0 else { throw SystemFailure() }
      }
    }
  }

  // MARK: Below the root

  private func beneath(_ names: ArraySlice<[UInt8]>, _ flags: Int32) throws -> Descriptor {
    try Descriptor.opened(centaur_open_beneath(root.number, WorkspacePath.cString(joining: names), flags))
  }

  private func makeDirectories(_ names: ArraySlice<[UInt8]>) throws -> Descriptor {
    let flags = centaur_o_path | O_DIRECTORY
    for count in 0..<names.count {
      do { _ = try beneath(names.prefix(count + 1), flags) } catch let failure as SystemFailure {
        guard failure.number == ENOENT else { throw failure }
        let above = try beneath(names.prefix(count), flags)
        let name = WorkspacePath.cString(names[names.startIndex + count])
        // Somebody else may have made it in the meantime.
        guard mkdirat(above.number, name, 0o755) == 0 || errno == EEXIST else { throw SystemFailure() }
      }
    }
    return try beneath(names, flags)
  }

  private func translating<T: Sendable>(
    _ path: WorkspacePath, _ body: @escaping @Sendable () throws -> T
  ) async throws -> T {
    do {
      return try await blocking(body)
    } catch let failure as SystemFailure {
      throw Self.error(failure)
    }
  }

  /// What a failed call says to who asked.
  static func error(_ failure: SystemFailure) -> CentaurError {
    switch failure.number {
    case ENOENT: CentaurError(.fileNotFound, "There is no such file in the session's workspace.", parameter: "path")
    case EXDEV, ELOOP:
      CentaurError(.fileOutside, "A link on the way leads out of the session's workspace.", parameter: "path")
    case ENOTDIR: CentaurError(.fileConflict, "A name on the way is not a directory.", parameter: "path")
    case EISDIR: CentaurError(.fileConflict, "There is a directory of this name.", parameter: "path")
    case ENOTEMPTY, EEXIST: CentaurError(.fileConflict, "The directory is not empty.", parameter: "path")
    case ENAMETOOLONG: CentaurError(.filePathInvalid, "The file's path is too long.", parameter: "path")
    case EACCES, EPERM, ENXIO:
      CentaurError(.fileRefused, "The agent has taken the rights to this file away.", parameter: "path")
    case ENOSPC, EDQUOT: CentaurError(.fileFailed, "There is no space left for the session's files.")
    default: CentaurError(.fileFailed, "The file could not be read or written.")
    }
  }

  static var notAFile: CentaurError {
    CentaurError(.fileRefused, "This is neither a file nor a directory.", parameter: "path")
  }

  static func tooLarge(_ limit: Int) -> CentaurError {
    CentaurError(.fileTooLarge, "The file is larger than this server's limit of \(limit) bytes.")
  }
}

/// A file that was opened, as large as it was then.
public struct WorkspaceFile: Sendable {
  private let descriptor: Descriptor
  /// In bytes.
  public let size: Int
  public let changedAt: Timestamp

  init(_ descriptor: Descriptor, size: Int, changedAt: Timestamp) {
    self.descriptor = descriptor
    self.size = size
    self.changedAt = changedAt
  }

  /// The bytes from an offset on, some of them; none at the end.
  /// - Throws: `CentaurError` with `fileFailed`
  public func read(at offset: Int, atMost count: Int) async throws -> [UInt8] {
    do {
      return try await blocking {
        var got = 0
        let bytes = try [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
          got = pread(descriptor.number, buffer.baseAddress, count, off_t(offset))
          guard got >= 0 else { throw SystemFailure() }
          initialized = got
        }
        return bytes
      }
    } catch {
      throw CentaurError(.fileFailed, "The file could not be read to its end.")
    }
  }
}

extension WorkspaceFiles.Entry.Kind {
  init(_ status: stat) {
    self =
      switch status.kind {
      case .file: .file
      case .directory: .directory
      case .link: .link
      case .other: .other
      }
  }
}

extension Timestamp {
  init(_ time: timespec) {
    self.init(milliseconds: Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000)
  }
}
