import Foundation
import Glibc
import ModelGateway
import NIOCore
import NIOPosix
import Testing

@testable import CentaurServer

/// The server finds out by a refused call that its gateway has died. Where it does not, nobody starts another, and the
/// turns of all sandboxes fail meanwhile.
@Suite(.timeLimit(.minutes(5)))
struct GatewayClientTests {
  @Test("a gateway that has died and left its socket is told from one that is slow")
  func refused() async throws {
    let data = FileManager.default.temporaryDirectory.appending(path: "centaur-link-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: data) }
    let files = GatewayFiles(data: data)
    let client = try GatewayClient(files)
    let socket = "\(files.directory)/control.sock"
    let dead = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .bind(unixDomainSocketPath: "\(socket).bound").get()
    // The end of a channel takes the name that it was bound to along.
    try #require(link("\(socket).bound", socket) == 0)
    try await dead.close()
    let error = await #expect(throws: IOError.self) { try await client.status() }
    #expect(error?.errnoCode == ECONNREFUSED)
  }
}
