import Foundation
import SessionModel
import Testing

@testable import Sandbox

/// What a harness has printed is read from files. Output that is taken for the end of it is lost to its user.
struct SpooledOutputTests {
  private let directory: SandboxDirectory
  private var spool: String { "\(directory.root)/spool" }
  private var output: SpooledOutput { SpooledOutput(sandbox: directory.root) }

  init() throws { directory = try SandboxDirectory() }

  @Test("what is not there holds nothing")
  func missing() async throws {
    #expect(try await output.read(from: 0).isEmpty)
    try FileManager.default.createDirectory(atPath: spool, withIntermediateDirectories: true)
    #expect(try await output.read(from: 0).isEmpty)
    try directory.write("spool/10", "words")
    #expect(try await output.read(from: 9).isEmpty)
    #expect(try await output.read(from: 12) == Array("rds".utf8))
    #expect(try await output.read(from: 15).isEmpty)
  }

  @Test("what is there and cannot be opened or read is no end")
  func unreadable() async throws {
    let files = FileManager.default
    try files.createDirectory(atPath: "\(spool)/0", withIntermediateDirectories: true)
    let unread = await #expect(throws: CentaurError.self) { try await output.read(from: 0) }
    #expect(unread?.code == .storeUnavailable)
    try files.removeItem(atPath: spool)
    try files.createDirectory(atPath: spool, withIntermediateDirectories: true)
    try files.createSymbolicLink(atPath: "\(spool)/0", withDestinationPath: "0")
    let unopened = await #expect(throws: CentaurError.self) { try await output.read(from: 0) }
    #expect(unopened?.code == .storeUnavailable)
    try files.removeItem(atPath: spool)
    try directory.write("spool", "no directory")
    let unlisted = await #expect(throws: CentaurError.self) { try await output.read(from: 0) }
    #expect(unlisted?.code == .storeUnavailable)
  }
}
