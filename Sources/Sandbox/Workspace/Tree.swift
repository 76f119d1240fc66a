import CShimSystem
import Glibc

/// Directories of sessions as a whole: how large they are, and their end. What is in them was made by agents: depth,
/// names and rights may be anything.
public enum Tree {
  /// What a tree takes on the disk, in bytes; what a file of several names takes is shared among them. 0 where there is
  /// none.
  public static func size(_ path: String) async -> Int {
    (try? await blocking { measure(path).bytes }) ?? 0
  }

  struct Measure: Sendable, Hashable {
    var bytes = 0
    var entries = 0
    /// False where something was too deep or too wide to be looked at.
    var isWhole = true
  }

  /// So many directories at most wait to be looked at: their names are in memory.
  private static let mostWaiting = 100_000

  /// Looks at a tree that somebody may be changing: each directory is opened below the root, one at a time, and no link
  /// leads out of it. A directory whose owner may not read it is made readable.
  /// - Parameter limit: beyond it the rest is not looked at
  static func measure(_ path: String, atMost limit: Int = .max) -> Measure {
    var measure = Measure()
    guard let root = try? Descriptor.directory(path) else { return measure }
    var waiting: [[CChar]] = [[0x2E, 0]]
    while let name = waiting.popLast(), measure.bytes <= limit {
      guard let directory = openToRead(name, below: root) else {
        // One that has gone meanwhile holds nothing.
        if errno != ENOENT { measure.isWhole = false }
        continue
      }
      let isWhole: Void? = try? directory.entries { entry in
        guard let status = try? directory.status(of: entry) else { return }
        measure.entries += 1
        measure.bytes += Int(status.st_blocks) * 512 / (status.kind == .directory ? 1 : max(1, Int(status.st_nlink)))
        guard status.kind == .directory else { return }
        let below = name.dropLast() + [CChar(0x2F)] + entry
        guard below.count < Int(PATH_MAX), waiting.count < mostWaiting else {
          measure.isWhole = false
          return
        }
        waiting.append(Array(below))
      }
      if isWhole == nil { measure.isWhole = false }
    }
    return measure
  }

  private static func openToRead(_ name: [CChar], below root: Descriptor) -> Descriptor? {
    let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW
    if let directory = try? Descriptor.opened(centaur_open_beneath(root.number, name, flags)) { return directory }
    guard errno == EACCES,
      let closed = try? Descriptor.opened(centaur_open_beneath(root.number, name, centaur_o_path | O_NOFOLLOW)),
      chmod("/proc/self/fd/\(closed.number)", 0o700) == 0
    else { return nil }
    return try? Descriptor.opened(centaur_open_beneath(root.number, name, flags))
  }

  /// Gives the owner of a directory his rights to it, which an agent may have taken away.
  static func letOwnerIn(_ path: String) async throws {
    try await blocking {
      let directory = try Descriptor.opened(open(path, centaur_o_path | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC))
      let mode = try directory.status().st_mode & 0o7777
      guard mode & 0o700 != 0o700 else { return }
      guard chmod("/proc/self/fd/\(directory.number)", mode | 0o700) == 0 else { throw SystemFailure() }
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
    giveRights(name, in: top.number)
    let number = openat(top.number, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
    guard number >= 0 else { return false }
    let directory = Descriptor(number)
    // Entries that go while a directory is read may hide others: it is read until nothing is left.
    var isChanged = true
    while isChanged {
      isChanged = false
      try? directory.entries { entry in
        if (try? directory.status(of: entry))?.kind == .directory {
          giveRights(entry, in: number)
          let free = String(UInt64.random(in: 0 ... .max), radix: 16)
          isChanged = renameat(number, entry, top.number, free) == 0 || isChanged
        } else {
          isChanged = unlinkat(number, entry, 0) == 0 || isChanged
        }
      }
    }
    return true
  }

  /// Lets the owner into a directory. Not by its name: a link could stand there by now.
  private static func giveRights(_ name: [CChar], in directory: Int32) {
    let number = openat(directory, name, centaur_o_path | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
    guard number >= 0 else { return }
    chmod("/proc/self/fd/\(number)", 0o700)
    close(number)
  }
}
