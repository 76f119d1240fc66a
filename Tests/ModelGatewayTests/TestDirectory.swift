import FoundationEssentials
import Glibc

/// A directory of a test's own; goes with the value.
final class TestDirectory: Sendable {
  let path = "/tmp/centaur-gateway-\(getpid())-\(UInt32.random(in: 0 ... .max))"

  init() throws {
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}
