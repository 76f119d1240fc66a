import SessionModel
import Testing

@testable import ModelGateway

@Suite("The egress proxy", .timeLimit(.minutes(30)))
struct EgressProxyTests {
  /// Echoes one line in upper case.
  private static func echo() async throws -> ScriptedProvider {
    try await ScriptedProvider.start { conversation in
      let head = try await conversation.head()
      try await conversation.send("heard \(head)")
    }
  }

  private static func rules(_ allow: [String], local: Bool) throws -> EgressRules {
    EgressRules(
      allow: try allow.map { try #require(EgressRules.Entry($0)) },
      addresses: local ? [try #require(EgressNetwork("127.0.0.0/8"))] : [])
  }

  private func connect(_ world: GatewayWorld, _ target: String, _ more: String = "") async throws -> String {
    try await GatewayWorld.Connection("\(world.files.sockets("a"))/egress.sock")
      .exchange("CONNECT \(target) HTTP/1.1\r\nhost: \(target)\r\n\r\n\(more)")
  }

  @Test("an allowed host is reached, both ways, and written down")
  func allowed() async throws {
    let host = try await Self.echo()
    let loopback = try #require(EgressAddress("127.0.0.1"))
    let world = try GatewayWorld { _ in [loopback] }
    try await world.withGateway { gateway in
      let rules = try Self.rules(["inside.test:\(host.port)"], local: true)
      _ = try await gateway.open("a", GatewayWorld.grant(egress: rules))
      let answer = try await connect(world, "Inside.TEST.:\(host.port)", "hello\r\n\r\n")
      #expect(answer == "HTTP/1.1 200 Connection established\r\n\r\nheard hello")
    }
    let line = try #require(world.audit.first)
    #expect(line["kind"]?.string == "egress")
    #expect(line["verdict"]?.string == "allowed")
    #expect(line["address"]?.string == "127.0.0.1")
    #expect(line["bytes_out"]?.int == 9)
    #expect(line["bytes_in"]?.int == 11)
  }

  @Test("a name that leads to this machine is refused, whatever the list says of the name; and so is what is not on it")
  func refused() async throws {
    let host = try await Self.echo()
    let loopback = try #require(EgressAddress("127.0.0.1"))
    let outside = try #require(EgressAddress("8.8.8.8"))
    let world = try GatewayWorld { name in name == "mixed.test" ? [outside, loopback] : [loopback] }
    try await world.withGateway { gateway in
      let rules = try Self.rules(["*.test:\(host.port)"], local: false)
      _ = try await gateway.open("a", GatewayWorld.grant(egress: rules))
      #expect(try await connect(world, "trap.test:\(host.port)").contains("not public"))
      #expect(try await connect(world, "mixed.test:\(host.port)").contains("not public"))
      #expect(try await connect(world, "elsewhere.org:\(host.port)").contains("not on this sandbox's list"))
      #expect(try await connect(world, "trap.test:1").contains("not on this sandbox's list"))
      #expect(try await connect(world, "127.0.0.1:\(host.port)").contains("no addresses"))
      #expect(try await connect(world, "[::ffff:127.0.0.1]:\(host.port)").contains("no addresses"))
      let plain = try await GatewayWorld.Connection("\(world.files.sockets("a"))/egress.sock")
        .exchange("GET http://trap.test/ HTTP/1.1\r\n\r\n")
      #expect(plain.hasPrefix("HTTP/1.1 405") && plain.contains("CONNECT only"))
      let head = try await GatewayWorld.Connection("\(world.files.sockets("a"))/egress.sock")
        .exchange("CONNECT a:1 HTTP/1.1\r\nx: \(String(repeating: "x", count: 10_000))")
      #expect(head.hasPrefix("HTTP/1.1 431"))
    }
    #expect(host.heads.isEmpty)
    #expect(!world.audit.contains { $0["verdict"]?.string == "allowed" })
    #expect(world.audit.count == 8)
  }

  @Test("nothing is written down as allowed before it was decided and reached")
  func undecided() {
    #expect(EgressRecord().verdict == "cut")
  }

  @Test("without rules there is no socket")
  func none() async throws {
    let world = try GatewayWorld()
    try await world.withGateway { gateway in
      let sockets = try await gateway.open("a", GatewayWorld.grant())
      #expect(sockets.egress == nil)
      await #expect(throws: (any Error).self) { try await connect(world, "a.test:443") }
    }
  }

  @Test("a connection on which nothing happens is ended")
  func idle() async throws {
    let host = try await ScriptedProvider.start { try await $0.untilClosed() }
    let loopback = try #require(EgressAddress("127.0.0.1"))
    let world = try GatewayWorld { _ in [loopback] }
    try await world.withGateway { gateway in
      var rules = try Self.rules(["quiet.test:\(host.port)"], local: true)
      rules.idle = .milliseconds(50)
      _ = try await gateway.open("a", GatewayWorld.grant(egress: rules))
      #expect(try await connect(world, "quiet.test:\(host.port)").hasPrefix("HTTP/1.1 200"))
    }
  }
}
