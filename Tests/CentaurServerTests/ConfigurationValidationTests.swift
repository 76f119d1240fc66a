import Glibc
import Testing

@testable import CentaurServer

/// What only the whole configuration can tell.
struct ConfigurationValidationTests {
  private static func refusal(_ change: (inout ServerConfiguration) throws -> Void) throws -> String? {
    var configuration = ServerConfiguration()
    try change(&configuration)
    do { try configuration.validate() } catch { return (error as? ConfigurationError)?.description }
    return nil
  }

  @Test("a harness must have a provider that is there")
  func provider() throws {
    let said = try Self.refusal { $0.harnesses["codex"]?.provider = "nobody" }
    #expect(said == "harness 'codex' names the provider 'nobody', which is not configured")
  }

  @Test("an ingress must be one that is there, and its harness too")
  func ingress() throws {
    #expect(try Self.refusal { $0.ingress["respones"] = "codex" }?.contains("'ingress' has no 'respones'") == true)
    let said = try Self.refusal { $0.ingress["responses"] = "codx" }
    #expect(said == "'ingress' gives 'responses' the harness 'codx', which is not configured")
  }

  @Test("a persona's harness must be there")
  func persona() throws {
    let said = try Self.refusal { $0.personas["p"] = .init(harness: "codx") }
    #expect(said == "persona 'p' names the harness 'codx', which is not configured")
  }

  @Test("a key's file must not lie where sandboxes may read, also not behind a link")
  func keyFiles() throws {
    let directory = "/tmp/centaur-keys-\(getpid())-\(UInt32.random(in: 0 ... .max))"
    #expect(mkdir(directory, 0o700) == 0 && mkdir("\(directory)/shared", 0o700) == 0)
    defer {
      unlink("\(directory)/link")
      rmdir("\(directory)/shared")
      rmdir(directory)
    }
    #expect(symlink("\(directory)/shared", "\(directory)/link") == 0)
    func refusal(_ file: String, _ sandbox: ServerConfiguration.SandboxBackendName = .bubblewrap) throws -> String? {
      try Self.refusal {
        $0.sandbox = sandbox
        $0.sandboxPaths = ["\(directory)/shared/"]
        $0.providers["openai"]?.apiKeyFile = file
      }
    }
    let said = "which every sandbox may read"
    for file in ["/usr/local/key", "/bin/../usr/key", "\(directory)/shared/key", "\(directory)/link/key"] {
      #expect(try refusal(file)?.contains(said) == true, "\(file)")
    }
    #expect(try refusal("\(directory)/shared-not/key") == nil)
    #expect(try refusal("/usr/local/key", .process) == nil)
  }

  @Test("as many turns as sandboxes must be let in")
  func turns() throws {
    #expect(try Self.refusal { $0.limits.turns = 15 } == "'turns' (15) must be at least 'sandboxes' (16)")
    #expect(try Self.refusal { $0.limits.turns = 16 } == nil)
  }

  @Test("a spool must hold what the harness says between two of its states that are saved")
  func spool() throws {
    let tooSmall = "'spool' must be at least 32MiB, and twice as much as 'harness_line'"
    func refusal(_ spool: Int, line: Int) throws -> String? {
      try Self.refusal {
        $0.limits.spool = spool
        $0.limits.harnessLine = line
      }
    }
    #expect(try refusal((32 << 20) - 1, line: 1 << 20) == tooSmall)
    #expect(try refusal(32 << 20, line: 1 << 20) == nil)
    #expect(try refusal((128 << 20) - 1, line: 64 << 20) == tooSmall)
    #expect(try refusal(128 << 20, line: 64 << 20) == nil)
  }

  @Test("a warm pool's harnesses must be there, wait for sessions, and have room")
  func warmPool() throws {
    #expect(try Self.refusal { $0.warmPool = .named(["codx": 1]) }?.contains("names the harness 'codx'") == true)
    #expect(try Self.refusal { $0.warmPool = .named(["codex-exec": 1]) }?.contains("cannot have") == true)
    #expect(try Self.refusal { $0.warmPool = .named(["codex": 17]) } == Self.tooLarge(17))
    #expect(try Self.refusal { $0.warmPool = .each(9) } == Self.tooLarge(18))
    #expect(try Self.refusal { $0.warmPool = .each(8) } == nil)
    #expect(try Self.refusal { $0.warmPool = .named(["codex": 16, "codex-exec": 0]) } == nil)
    // What nobody asked for does not stop the start.
    #expect(try Self.refusal { $0.limits.sandboxes = 1 } == nil)
  }

  private static func tooLarge(_ size: Int) -> String {
    "'warm_pool' (\(size) in all) must be at most 'sandboxes' (16)"
  }

  @Test("one sandbox waits for each harness that an ingress names, but for one that is a process a turn")
  func warmPoolSizes() {
    var configuration = ServerConfiguration()
    #expect(configuration.warmPoolSizes == ["codex": 1, "claude": 1])
    configuration.ingress["responses"] = "codex-exec"
    configuration.ingress["session_api"] = "claude"
    #expect(configuration.warmPoolSizes == ["claude": 1])
    configuration.warmPool = .named(["codex": 2])
    #expect(configuration.warmPoolSizes == ["codex": 2])
  }

  @Test("without keys the server listens on loopback only", arguments: ["127.0.0.1:1", "localhost:0", "[::1]:65535"])
  func loopback(_ text: String) throws {
    #expect(try Self.refusal(hasKeys: false, text) == nil)
    #expect(try Self.refusal(hasKeys: true, text) == nil)
  }

  /// What is said of an address, if it is refused.
  private static func refusal(hasKeys: Bool, _ address: String) throws -> String? {
    var configuration = ServerConfiguration()
    configuration.listen = try #require(ServerConfiguration.Address(address))
    do {
      try configuration.validateListen(hasKeys: hasKeys)
      return nil
    } catch let error as ConfigurationError { return error.description }
  }

  @Test(
    "an address that others reach is refused where there is no key, and the reason says how to make one",
    arguments: [
      "0.0.0.0:8787", "192.168.1.2:8787", "[::]:8787", "[fe80::1]:8787", "example.com:80", "127.0.0.1.nip.io:1",
    ])
  func exposed(_ text: String) throws {
    let said = try Self.refusal(hasKeys: false, text)
    #expect(said?.contains("is refused") == true)
    #expect(said?.contains("centaur keys create") == true)
    #expect(try Self.refusal(hasKeys: true, text) == nil)
  }

  @Test(
    "an address is a host and a port, and is written as it was read",
    arguments: ["127.0.0.1:8787", "[::1]:80", "localhost:0"])
  func address(_ text: String) {
    #expect(ServerConfiguration.Address(text)?.description == text)
  }

  @Test(
    "what is no address is refused",
    arguments: [
      "", ":", "8787", ":8787", "host:", "host:65536", "host:-1", "host:+1", "host:x", "[]:1", "[::1:80", "::1]:80",
    ])
  func noAddress(_ text: String) {
    #expect(ServerConfiguration.Address(text) == nil)
  }
}
