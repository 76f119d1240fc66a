import Foundation
import Glibc
import Testing

@testable import CentaurServer

/// An agent whose model calls fail must not fill the disk with what is said of them.
struct GatewayLogTests {
  private let directory: URL

  init() throws {
    directory = FileManager.default.temporaryDirectory.appending(path: "centaur-log-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
  }

  private func write(_ text: String, to descriptor: Int32) {
    #expect(Glibc.write(descriptor, text, text.utf8.count) == text.utf8.count)
  }

  private func text(_ path: String) -> String? { try? String(contentsOfFile: path, encoding: .utf8) }

  @Test("a log at its limit goes on, one over it becomes the old one, and its writer goes on in a new one")
  func rotates() throws {
    defer { try? FileManager.default.removeItem(at: directory) }
    let log = GatewayLog(path: directory.appending(path: "log").path, limit: 10)
    let writer = open(log.path, O_WRONLY | O_CREAT | O_APPEND, 0o600)
    defer { close(writer) }
    write("0123456789", to: writer)
    log.keepSmall([writer])
    #expect(text(log.path) == "0123456789" && text(log.oldPath) == nil)
    write("a", to: writer)
    log.keepSmall([writer])
    #expect(text(log.path) == "" && text(log.oldPath) == "0123456789a")
    write("b", to: writer)
    #expect(text(log.path) == "b")
    // There are two files at most.
    write("cdefghijklm", to: writer)
    log.keepSmall([writer])
    #expect(text(log.oldPath) == "bcdefghijklm")
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path).count == 2)
  }

  @Test("a file that the gateway does not write to is left alone")
  func others() throws {
    defer { try? FileManager.default.removeItem(at: directory) }
    let log = GatewayLog(path: directory.appending(path: "log").path, limit: 1)
    try "somebody else's".write(toFile: log.path, atomically: false, encoding: .utf8)
    let null = open("/dev/null", O_WRONLY)
    defer { close(null) }
    log.keepSmall([null])
    #expect(text(log.path) == "somebody else's" && text(log.oldPath) == nil)
  }
}
