import FoundationEssentials
import Glibc
import SessionModel

/// The gateway's directory, `<data>/gateway`, mode 0700:
///
///     control.sock  pid  log  audit.jsonl  audit.1.jsonl
///     grants/<sandbox>.json     what a sandbox may; a newer gateway reads it
///     usage/<session>           what a session has used
///     sockets/<sandbox>/        what the sandbox sees: model.sock, egress.sock
public struct GatewayFiles: Sendable {
  /// Absolute.
  public let directory: String

  public init(data: String) { directory = "\(data)/gateway" }

  public var log: String { "\(directory)/log" }
  public var pid: String { "\(directory)/pid" }
  static let controlName = "control.sock"
  static let modelName = "model.sock"
  static let egressName = "egress.sock"
  var audit: String { "\(directory)/audit.jsonl" }
  var oldAudit: String { "\(directory)/audit.1.jsonl" }
  var grants: String { "\(directory)/grants" }
  func grant(_ sandbox: String) -> String { "\(grants)/\(sandbox).json" }
  func usage(_ session: SessionID) -> String { "\(directory)/usage/\(session)" }
  func sockets(_ sandbox: String) -> String { "\(directory)/sockets/\(sandbox)" }

  /// Makes the directories that are not there.
  /// - Throws: what the file system says
  public func create() throws {
    for path in [directory, grants, "\(directory)/usage", "\(directory)/sockets"] {
      try FileManager.default.createDirectory(
        atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    }
  }

  /// Ids become names of files: nothing else may.
  static func isName(_ text: String) -> Bool {
    !text.isEmpty && text.utf8.count <= 128
      && text.utf8.allSatisfy { byte in
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
          || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || byte == UInt8(ascii: "-")
      }
  }

  /// Puts a file whole into its place, mode 0600.
  static func write(_ bytes: [UInt8], to path: String) throws(FileFailure) {
    let temporary = "\(path).\(getpid())"
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw FileFailure(path: path, number: errno) }
    defer { close(descriptor) }
    guard Glibc.write(descriptor, bytes, bytes.count) == bytes.count, rename(temporary, path) == 0 else {
      let number = errno
      unlink(temporary)
      throw FileFailure(path: path, number: number)
    }
  }

  /// Who a file is, whatever its name.
  struct Identity: Hashable, Sendable {
    var device: UInt64
    var inode: UInt64

    init?(_ path: String) {
      var status = stat()
      guard stat(path, &status) == 0 else { return nil }
      device = UInt64(status.st_dev)
      inode = UInt64(status.st_ino)
    }
  }
}

struct FileFailure: Error, CustomStringConvertible {
  let path: String
  let number: Int32
  var description: String { "\(path): \(String(cString: strerror(number)))" }
}
