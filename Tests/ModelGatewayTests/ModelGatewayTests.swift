import FoundationEssentials
import Glibc
import NIOCore
import NIOHTTP1
import SessionModel
import Synchronization
import Testing

@testable import ModelGateway

@Suite("The model gateway", .timeLimit(.minutes(30)))
struct ModelGatewayTests {
  private static let completed =
    #"{"type":"response.completed","response":{"usage":{"input_tokens":7,"output_tokens":5}}}"#

  private static func answering() async throws -> ScriptedProvider {
    try await ScriptedProvider.start { conversation in
      try await conversation.request()
      try await conversation.sendStreamHead()
      try await conversation.sendEvent(completed)
      try await conversation.endStream()
    }
  }

  @Test("a sandbox's credential is left behind, the real key is added, and the call is written down without content")
  func call() async throws {
    let provider = try await Self.answering()
    let world = try GatewayWorld()
    try await world.withGateway(GatewayWorld.settings(provider, headers: ["x-team": "t"])) { gateway in
      _ = try await gateway.open("a", GatewayWorld.grant())
      let answer = try await world.call(
        "a", "/v1/responses?beta=true", #"{"model":"m1","input":"secret words"}"#,
        headers: "authorization: Bearer stolen\r\nx-api-key: stolen\r\nx-team: mine\r\n")
      #expect(answer.hasPrefix("HTTP/1.1 200"))
      #expect(answer.contains("response.completed"))
      #expect(answer.hasSuffix("0\r\n\r\n"))
      let head = try #require(provider.heads.first)
      #expect(head.hasPrefix("POST /base/v1/responses?beta=true "))
      #expect(head.contains("authorization: Bearer sk-real"))
      #expect(head.contains("x-team: t"))
      #expect(!head.contains("stolen") && !head.contains("mine"))
      #expect(!answer.contains("sk-real"))
      let line = try #require(world.audit.first)
      #expect(line["session"]?.string == "s1")
      #expect(line["sandbox"]?.string == "a")
      #expect(line["model"]?.string == "m1")
      #expect(line["status"]?.int == 200)
      #expect(line["input_tokens"]?.int == 7)
      #expect(line["output_tokens"]?.int == 5)
      #expect(!line.text.contains("secret words") && !line.text.contains("sk-real"))
    }
  }

  @Test("an answer is passed on as it comes, and one that the provider cuts is cut at the harness")
  func stream() async throws {
    let seen = Happening()
    let provider = try await ScriptedProvider.start { conversation in
      try await conversation.request()
      try await conversation.sendStreamHead()
      try await conversation.sendEvent(#"{"n":1}"#)
      await seen.wait()
      try await conversation.sendEvent(#"{"n":2}"#)
    }
    let world = try GatewayWorld()
    try await world.withGateway(GatewayWorld.settings(provider)) { gateway in
      _ = try await gateway.open("a", GatewayWorld.grant())
      let answer = try await GatewayWorld.Connection("\(world.files.sockets("a"))/model.sock")
        .exchange(GatewayWorld.post("/v1/responses")) { text in
          if text.contains(#"{"n":1}"#) { seen.happened() }
          return false
        }
      #expect(answer.contains(#"{"n":2}"#))
      #expect(!answer.hasSuffix("0\r\n\r\n"))
      #expect(world.audit.first?["cut"]?.bool == true)
      #expect(world.audit.first?["estimated"]?.bool == true)
    }
  }

  @Test("a provider that answers and closes before it has read the call ends that call, and no other")
  func earlyAnswer() async throws {
    let provider = try await ScriptedProvider.start { conversation in
      try await conversation.head()
      try await conversation.send("HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
    }
    let world = try GatewayWorld()
    try await world.withGateway(GatewayWorld.settings(provider)) { gateway in
      _ = try await gateway.open("a", GatewayWorld.grant())
      let long = #"{"model":"m1","input":"\#(String(repeating: "x", count: 8 << 20))"}"#
      for _ in 0..<5 {
        let answer = try await world.call("a", "/v1/responses", long)
        // Whether its status or the broken pipe is seen first is the network's choice.
        #expect(answer.hasPrefix("HTTP/1.1 400") || answer.hasPrefix("HTTP/1.1 502"))
      }
    }
  }

  @Test("a harness that goes away takes its call with it")
  func abandoned() async throws {
    let closed = Happening()
    let provider = try await ScriptedProvider.start { conversation in
      try await conversation.request()
      try await conversation.sendStreamHead()
      try await conversation.sendEvent("{}")
      try? await conversation.untilClosed()
      closed.happened()
    }
    let world = try GatewayWorld()
    try await world.withGateway(GatewayWorld.settings(provider)) { gateway in
      _ = try await gateway.open("a", GatewayWorld.grant())
      _ = try await GatewayWorld.Connection("\(world.files.sockets("a"))/model.sock")
        .exchange(GatewayWorld.post("/v1/responses")) { $0.contains("{}") }
      await closed.wait()
    }
  }

  @Test("a call that its harness leaves before the answer's head counts what was sent")
  func leftEarly() async throws {
    let seen = Happening()
    let provider = try await ScriptedProvider.start { conversation in
      try await conversation.request()
      seen.happened()
      try? await conversation.untilClosed()
    }
    let world = try GatewayWorld()
    try await world.withGateway(GatewayWorld.settings(provider)) { gateway in
      _ = try await gateway.open("a", GatewayWorld.grant())
      let harness = try await GatewayWorld.Connection("\(world.files.sockets("a"))/model.sock").channel
      let body = #"{"model":"m1","input":"\#(String(repeating: "x", count: 400))"}"#
      try await harness.executeThenClose { _, _ in
        try await harness.channel.writeAndFlush(ByteBuffer(string: GatewayWorld.post("/v1/responses", body)))
        await seen.wait()
      }
      let session = SessionID(rawValue: "s1")
      while gateway.usage(session).tokens == 0 { await Task.yield() }
      #expect(gateway.usage(session) == .init(requests: 1, input: body.utf8.count / 4, output: 0))
      while world.audit.isEmpty { await Task.yield() }
      #expect(world.audit.first?["estimated"]?.bool == true)
    }
  }

  @Test("what a session has used is forgotten with its last sandbox, and known again with the next")
  func ledgers() async throws {
    let provider = try await Self.answering()
    let world = try GatewayWorld()
    try await world.withGateway(GatewayWorld.settings(provider)) { gateway in
      _ = try await gateway.open("a", GatewayWorld.grant())
      _ = try await gateway.open("b", GatewayWorld.grant())
      #expect(try await world.call("a").hasPrefix("HTTP/1.1 200"))
      try await gateway.close("a")
      #expect(gateway.state.withLock { $0.ledgers.count } == 1)
      try await gateway.close("b")
      #expect(gateway.state.withLock { $0.ledgers.isEmpty })
      _ = try await gateway.open("c", GatewayWorld.grant(limits: GatewayLimits(sessionRequests: 1)))
      #expect(try await world.call("c").contains("session_request_limit"))
    }
  }

  @Test("a connection that is not admitted is closed, and the next one is served")
  func strangers() async throws {
    let directory = try TestDirectory()
    let first = Atomic(true)
    let listener = try await UnixListener.bind(directory: directory.path, name: "s", limit: 8) { channel in
      try UnixHTTP.setUp(
        channel, bodyLimit: 100, budget: UnixHTTP.Budget(1000),
        admits: { _ in !first.exchange(false, ordering: .relaxed) }
      ) { _, answer in
        try await answer.send(.ok, body: Array("served".utf8))
      }
    }
    let refused = try await GatewayWorld.Connection(listener.path)
    #expect((try? await refused.exchange(GatewayWorld.post("/"))) ?? "" == "")
    #expect(try await GatewayWorld.Connection(listener.path).exchange(GatewayWorld.post("/")).contains("served"))
    await listener.remove()
  }

  @Test("another model, another route, a long body and a redirection get an error and reach no provider")
  func refusals() async throws {
    let provider = try await ScriptedProvider.start { conversation in
      try await conversation.request()
      try await conversation.send(
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n")
    }
    let world = try GatewayWorld()
    try await world.withGateway(GatewayWorld.settings(provider)) { gateway in
      _ = try await gateway.open("a", GatewayWorld.grant(limits: GatewayLimits(body: 100)))
      let other = try await world.call("a", "/v1/messages", #"{"model":"m2"}"#)
      #expect(other.contains(#""type":"error""#) && other.contains("model_not_allowed"))
      #expect(try await world.call("a", "/v1/files").hasPrefix("HTTP/1.1 404"))
      let long = try await world.call("a", "/v1/responses", String(repeating: "x", count: 150))
      #expect(long.hasPrefix("HTTP/1.1 413") && long.contains("body_too_large"))
      #expect(provider.heads.isEmpty)
      let redirected = try await world.call("a")
      #expect(redirected.hasPrefix("HTTP/1.1 502") && !redirected.contains("location"))
      #expect(provider.heads.count == 1)
      #expect(world.audit.compactMap { $0["refused"]?.string }.count == 4)
    }
  }

  @Test("a session that has used its tokens or its calls is refused at once, whichever sandbox asks")
  func limits() async throws {
    let provider = try await Self.answering()
    let world = try GatewayWorld()
    try await world.withGateway(GatewayWorld.settings(provider)) { gateway in
      _ = try await gateway.open("a", GatewayWorld.grant(limits: GatewayLimits(sessionTokens: 12)))
      _ = try await gateway.open("b", GatewayWorld.grant(limits: GatewayLimits(sessionTokens: 12)))
      _ = try await gateway.open("c", GatewayWorld.grant("s2", limits: GatewayLimits(sessionRequests: 1)))
      #expect(try await world.call("a").hasPrefix("HTTP/1.1 200"))
      let refused = try await world.call("b")
      #expect(refused.hasPrefix("HTTP/1.1 400") && refused.contains("session_token_limit"))
      #expect(!refused.lowercased().contains("retry-after"))
      #expect(try await world.call("c").hasPrefix("HTTP/1.1 200"))
      #expect(try await world.call("c").contains("session_request_limit"))
      #expect(provider.heads.count == 2)
    }
  }

  @Test("a newer gateway takes the sockets over while a call runs, the call goes on, and the older one ends after it")
  func takeover() async throws {
    let taken = Happening()
    let provider = try await ScriptedProvider.start { conversation in
      try await conversation.request()
      try await conversation.sendStreamHead()
      try await conversation.sendEvent(#"{"n":1}"#)
      await taken.wait()
      try await conversation.sendEvent(Self.completed)
      try await conversation.endStream()
    }
    let world = try GatewayWorld()
    let settings = GatewayWorld.settings(provider)
    let old = world.makeGateway()
    let oldReady = Happening()
    let oldRun = Task { try await old.run(settings: settings) { oldReady.happened() } }
    await oldReady.wait()
    _ = try await old.open("a", GatewayWorld.grant())
    let running = Happening()
    let call = Task {
      try await GatewayWorld.Connection("\(world.files.sockets("a"))/model.sock")
        .exchange(GatewayWorld.post("/v1/responses")) { text in
          if text.contains(#"{"n":1}"#) { running.happened() }
          return false
        }
    }
    await running.wait()
    try await world.withGateway(settings) { _ in
      // The newer one has the sandbox from the grant's file: no server told it.
      let other = Task { try await world.call("a") }
      while provider.heads.count < 2 { await Task.yield() }
      taken.happened()
      #expect(try await call.value.hasSuffix("0\r\n\r\n"))
      #expect(try await other.value.hasSuffix("0\r\n\r\n"))
      try await oldRun.value
      #expect(try await world.call("a").hasPrefix("HTTP/1.1 200"))
      #expect(world.audit.count == 3)
      #expect(try await world.control("GET", "/v1/sandboxes").contains(#""requests":3"#))
    }
  }

  @Test("a gateway without settings serves nothing until a server tells it where calls go")
  func settings() async throws {
    let provider = try await Self.answering()
    let world = try GatewayWorld()
    try await world.withGateway { gateway in
      let opened = try await world.control("PUT", "/v1/sandboxes/a", GatewayWorld.grant().json)
      #expect(opened.contains("model.sock"))
      #expect(try await world.call("a").hasPrefix("HTTP/1.1 502"))
      _ = try await world.control("PUT", "/v1/settings", GatewayWorld.settings(provider).json)
      #expect(try await world.call("a").hasPrefix("HTTP/1.1 200"))
      // What was told once is not told again.
      #expect(try await !world.control("GET", "/v1/status").contains("sk-real"))
      #expect(try await !world.control("GET", "/v1/sandboxes").contains("sk-real"))
      _ = try await world.control("DELETE", "/v1/sandboxes/a")
      await #expect(throws: (any Error).self) { try await world.call("a") }
      #expect(!FileManager.default.fileExists(atPath: world.files.sockets("a")))
    }
  }

  @Test("a gateway whose server never comes back ends, though sandboxes are left")
  func orphan() async throws {
    let provider = try await Self.answering()
    let world = try GatewayWorld()
    let settings = GatewayWorld.settings(provider)
    try await world.withGateway(settings) { gateway in _ = try await gateway.open("a", GatewayWorld.grant()) }
    // The next one finds the sandbox, and nobody comes.
    try await world.makeGateway().run(settings: settings, orphanAfter: .milliseconds(1))
    #expect(!FileManager.default.fileExists(atPath: "\(world.files.directory)/control.sock"))
  }

  @Test("the sockets are the user's own")
  func modes() async throws {
    let provider = try await Self.answering()
    let world = try GatewayWorld()
    try await world.withGateway(GatewayWorld.settings(provider)) { gateway in
      _ = try await gateway.open("a", GatewayWorld.grant())
      for (path, mode) in [
        (world.files.directory, 0o700), ("\(world.files.directory)/control.sock", 0o600),
        (world.files.sockets("a"), 0o700), ("\(world.files.sockets("a"))/model.sock", 0o600),
      ] {
        var status = stat()
        #expect(stat(path, &status) == 0)
        #expect(status.st_mode & 0o777 == UInt32(mode), "\(path)")
      }
      #expect(try FileManager.default.contentsOfDirectory(atPath: world.files.sockets("a")) == ["model.sock"])
    }
  }

  @Test("a sandbox's calls at one time are limited, and the next one is let in when one ends")
  func calls() async throws {
    let release = Happening()
    let provider = try await ScriptedProvider.start { conversation in
      try await conversation.request()
      try await conversation.sendStreamHead()
      try await conversation.sendEvent("{}")
      await release.wait()
      try await conversation.endStream()
    }
    let world = try GatewayWorld()
    try await world.withGateway(GatewayWorld.settings(provider)) { gateway in
      _ = try await gateway.open("a", GatewayWorld.grant(limits: GatewayLimits(calls: 1)))
      let running = Happening()
      let first = Task {
        try await GatewayWorld.Connection("\(world.files.sockets("a"))/model.sock")
          .exchange(GatewayWorld.post("/v1/responses")) { text in
            if text.contains("{}") { running.happened() }
            return false
          }
      }
      await running.wait()
      #expect(try await world.call("a").contains("too_many_model_calls"))
      release.happened()
      #expect(try await first.value.hasSuffix("0\r\n\r\n"))
      while try await world.call("a").contains("too_many_model_calls") { await Task.yield() }
    }
  }
}
