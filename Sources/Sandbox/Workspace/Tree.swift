import Glibc

/// Directories of sessions as a whole: how large they are, and their end. What is in them was made by agents: depth,
/// names and rights may be anything.
public enum Tree {
  /// What a tree takes on the disk, in bytes; a file of several names counts once for each. 0 where there is none.
  public static func size(_ path: String) async -> Int {
    (try? await blocking { measure(path) }) ?? 0
  }

  /// Directories deeper than this are not measured: each level holds a descriptor.
  private static let deepestMeasured = 128

  static func measure(_ path: String, atMost limit: Int = .max) -> Int {
    guard let root = try? Descriptor.directory(path) else { return 0 }
    var size = 0
    measure(root, depth: 0, atMost: limit, &size)
    return size
  }

  private static func measure(_ directory: Descriptor, depth: Int, atMost limit: Int, _ size: inout Int) {
    // What cannot be read is left out: the figure is for people.
    try? directory.entries { name in
      guard size <= limit, let status = try? directory.status(of: name) else { return }
      size += Int(status.st_blocks) * 512
      guard status.kind == .directory, depth < deepestMeasured else { return }
      let child = openat(directory.number, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
      if child >= 0 { measure(Descriptor(child), depth: depth + 1, atMost: limit, &size) }
    }
  }

  /// Takes a directory out of the way at once, into `trash`, and removes it there. One that is not there is gone.
  /// - Parameter trash: in the same file system; made where it is missing
  /// - Throws: `WorkspaceFailure` where it could not be taken away
  public static func discard(_ path: String, trash: String) async throws {
    try await blocking {
      _ = mkdir(trash, 0o700)
      let name = String(UInt64.random(in: 0 ... .max), radix: 16)
      guard rename(path, "\(trash)/\(name)") == 0 else {
        guard errno != ENOENT else { return }
        throw WorkspaceFailure("Its files could not be removed.", detail: SystemFailure().description)
      }
      empty(trash)
    }
  }

  /// Removes all that lies in a directory of ours, what an earlier server left there included.
  ///
  /// Directories are taken out of each other before they are emptied, so that no depth is too deep.
  static func empty(_ path: String) {
    guard let top = try? Descriptor.directory(path) else { return }
    var isChanged = true
    while isChanged {
      isChanged = false
      try? top.entries { name in
        let isDirectory = (try? top.status(of: name))?.kind == .directory
        if !isDirectory {
          isChanged = unlinkat(top.number, name, 0) == 0 || isChanged
        } else if flatten(name, in: top) {
          isChanged = unlinkat(top.number, name, AT_REMOVEDIR) == 0 || isChanged
        }
      }
    }
  }

  /// Empties a directory of `top`: its files go, its directories become `top`'s.
  private static func flatten(_ name: [CChar], in top: Descriptor) -> Bool {
    // The agent may have taken its own rights away.
    _ = fchmodat(top.number, name, 0o700, 0)
    let number = openat(top.number, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
    guard number >= 0 else { return false }
    let directory = Descriptor(number)
    // Entries that go while a directory is read may hide others: it is read until nothing is left.
    var isChanged = true
    while isChanged {
      isChanged = false
      try? directory.entries { entry in
        if (try? directory.status(of: entry))?.kind == .directory {
          _ = fchmodat(number, entry, 0o700, 0)
          let free = String(UInt64.random(in: 0 ... .max), radix: 16)
          isChanged = renameat(number, entry, top.number, free) == 0 || isChanged
        } else {
          isChanged = unlinkat(number, entry, 0) == 0 || isChanged
        }
      }
    }
    return true
  }
}
