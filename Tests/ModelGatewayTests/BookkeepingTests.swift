import FoundationEssentials
import Glibc
import NIOCore
import SessionModel
import Testing

@testable import ModelGateway

@Suite("What the gateway writes down")
struct BookkeepingTests {
  private func usage(_ text: String, type: String, pieces: Int) -> UsageReader {
    var reader = UsageReader(contentType: type)
    let bytes = Array(text.utf8)
    for start in stride(from: 0, to: bytes.count, by: pieces) {
      reader.feed(ByteBuffer(bytes: bytes[start..<min(start + pieces, bytes.count)]).readableBytesView)
    }
    reader.finish()
    return reader
  }

  @Test("what a stream of /v1/responses cost is read, however its pieces fall", arguments: [1, 7, 4096])
  func responses(_ pieces: Int) {
    let stream = """
      event: response.output_text.delta\r
      data: {"type":"response.output_text.delta","delta":"\\"usage\\""}\r
      \r
      event: response.completed
      data: {"type":"response.completed","response":{"usage":{"input_tokens":100,"input_tokens_details":{"cached_tokens":60},"output_tokens":20,"output_tokens_details":{"reasoning_tokens":5}}}}


      """
    let reader = usage(stream, type: "text/event-stream; charset=utf-8", pieces: pieces)
    #expect(reader.usage == Usage(input: 100, cachedInput: 60, output: 20, reasoning: 5))
    #expect(reader.events == 2)
  }

  @Test("what a stream of /v1/messages cost is its start's input and its last count of output", arguments: [1, 4096])
  func messages(_ pieces: Int) {
    let stream = """
      data: {"type":"message_start","message":{"usage":{"input_tokens":10,"cache_read_input_tokens":5,"cache_creation_input_tokens":2,"output_tokens":1}}}

      data: {"type":"message_delta","usage":{"output_tokens":30}}

      data: {"type":"message_stop"}


      """
    let reader = usage(stream, type: "text/event-stream", pieces: pieces)
    #expect(reader.usage == Usage(input: 17, cachedInput: 5, cacheWrite: 2, output: 30))
    #expect(reader.isComplete)
  }

  @Test("what one JSON body cost is read")
  func body() {
    let reader = usage(#"{"usage":{"input_tokens":3,"output_tokens":4}}"#, type: "application/json", pieces: 3)
    #expect(reader.usage == Usage(input: 3, output: 4))
  }

  @Test("two gateways that serve a session at one time count into one sum")
  func ledger() throws {
    let directory = try TestDirectory()
    let path = "\(directory.path)/usage"
    let (old, new) = (SessionLedger(path: path), SessionLedger(path: path))
    let limits = GatewayLimits(sessionTokens: 100, sessionRequests: 3)
    try old.admit(limits)
    try new.admit(limits)
    old.add(Usage(input: 90, output: 9))
    try new.admit(limits)
    #expect(new.sum == .init(requests: 3, input: 90, output: 9))
    #expect(refusal { try old.admit(limits) } == .sessionRequestLimit)
    new.add(Usage(input: 0, output: 1))
    #expect(refusal { try old.admit(limits) } == .sessionTokenLimit)
    #expect(SessionLedger(path: path).sum.tokens == 100)
  }

  private func refusal(_ body: () throws -> Void) -> CentaurError.Code? {
    do { try body() } catch { return (error as? CentaurError)?.code }
    return nil
  }

  @Test("a key's file is read again when it is another, and one that holds no key gives none")
  func keys() throws {
    let directory = try TestDirectory()
    let path = "\(directory.path)/key"
    let key = ProviderKey(.file(path))
    #expect(key.value == nil)
    try GatewayFiles.write(Array("sk-one\n".utf8), to: path)
    #expect(key.value == "sk-one")
    try GatewayFiles.write(Array("sk-two".utf8), to: path)
    #expect(key.value == "sk-two")
    try GatewayFiles.write(Array("sk three\r\n".utf8), to: path)
    #expect(key.value == nil)
    unlink(path)
    #expect(key.value == nil)
  }

  @Test("the audit log is the user's own and is kept below a size, with one old file beside it")
  func audit() throws {
    let directory = try TestDirectory()
    let log = AuditLog(path: "\(directory.path)/a", oldPath: "\(directory.path)/b", limit: 100)
    for number in 0..<12 { log.write(["number": .int(Int64(number)), "text": "xxxxxxxxxxxxxxx"]) }
    let lines = ["b", "a"].flatMap { name -> [Substring] in
      let text = FileManager.default.contents(atPath: "\(directory.path)/\(name)") ?? Data()
      #expect(text.count <= 100)
      return String(decoding: text, as: UTF8.self).split(separator: "\n")
    }
    #expect(lines.last?.contains("\"number\":11") == true)
    #expect(lines.count == 4)
    var status = stat()
    #expect(stat("\(directory.path)/a", &status) == 0)
    #expect(status.st_mode & 0o777 == 0o600)
  }

  @Test("settings and grants come through the control socket as they were sent")
  func json() throws {
    let settings = GatewaySettings(
      providers: [
        "p": ModelProvider(
          baseURL: "https://x/y/v1", baseIncludesVersion: true, credential: .bearer, key: .file("/k"),
          headers: ["a": "b"], timeout: .seconds(5))
      ], usesStandInModel: true, linger: .seconds(3))
    #expect(GatewaySettings(json: try JSONValue(parsing: settings.json.serialized)) == settings)
    let rules = EgressRules(
      allow: [try #require(.init("*.debian.org:8080"))], addresses: [try #require(EgressNetwork("10.0.0.0/8"))],
      names: [try #require(EgressName("a.b")): [try #require(EgressAddress("::1"))]])
    let grant = GatewayGrant(
      session: SessionID(rawValue: "s1"), provider: "p", models: ["m"],
      limits: GatewayLimits(sessionTokens: 5, sessionRequests: nil, calls: 2, body: 10), egress: rules)
    #expect(GatewayGrant(json: try JSONValue(parsing: grant.json.serialized)) == grant)
  }
}
