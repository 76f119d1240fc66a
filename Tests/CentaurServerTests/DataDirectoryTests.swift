import FoundationEssentials
import Testing

@testable import CentaurServer

/// The server's files are its own.
struct DataDirectoryTests {
  @Test("one server at a time uses a data directory, which nobody else can read")
  func lock() throws {
    let path = "/tmp/centaur-data-\(UInt32.random(in: 0 ... .max))/deep/down"
    defer { try? FileManager.default.removeItem(atPath: path) }
    do {
      let first = try DataDirectory(path)
      #expect(first.path == path)
      #expect(first.storePath == "\(path)/centaur.sqlite")
      #expect(throws: ConfigurationError.self) { _ = try DataDirectory(path) }
      let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
      #expect(mode == 0o700)
      withExtendedLifetime(first.path) {}
    }
    _ = try DataDirectory(path)
  }

  @Test("a directory that was open to others is closed")
  func closes() throws {
    let path = "/tmp/centaur-data-\(UInt32.random(in: 0 ... .max))"
    try FileManager.default.createDirectory(
      atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o755])
    defer { try? FileManager.default.removeItem(atPath: path) }
    _ = try DataDirectory(path)
    #expect(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int == 0o700)
  }

  @Test("a directory that cannot be made is a mistake of the configuration")
  func impossible() {
    let error = #expect(throws: ConfigurationError.self) { _ = try DataDirectory("/proc/nothing/here") }
    #expect(error?.description.contains("/proc/nothing/here") == true)
  }
}

struct ListeningPortTests {
  @Test("who asks for a port before the server listens is told when it does")
  func port() async {
    let port = ListeningPort()
    async let early = [port.value, port.value]
    port.set(8787)
    #expect(await early == [8787, 8787])
    #expect(await port.value == 8787)
  }
}
