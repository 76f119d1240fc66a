/// A reader of foreign bytes, and what must hold whatever the bytes are.
///
/// The same targets run in the fuzzer (`make fuzz`), where libFuzzer makes the bytes, and in the unit tests, where what it
/// found once is read again.
public struct FuzzTarget: Sendable {
  public let name: String
  /// Throws where something does not hold. A trap counts too: it would have ended the server.
  public let check: @Sendable (_ input: [UInt8]) throws -> Void

  public static let all: [FuzzTarget] = [
    .init(name: "json", check: JSONTarget.check),
    .init(name: "responses", check: ResponsesTarget.check),
    .init(name: "messages", check: MessagesTarget.check),
    .init(name: "session", check: SessionTarget.check),
    .init(name: "codex", check: { try HarnessTarget.check($0, .codex) }),
    .init(name: "codex-exec", check: { try HarnessTarget.check($0, .codexExec) }),
    .init(name: "claude", check: { try HarnessTarget.check($0, .claude) }),
    .init(name: "socket", check: SocketTarget.check),
    .init(name: "shim", check: ShimTarget.check),
    .init(name: "gateway", check: GatewayTarget.check),
    .init(name: "configuration", check: ConfigurationTarget.check),
    .init(name: "outputs", check: OutputsTarget.check),
    .init(name: "conversations", check: ConversationsTarget.check),
    .init(name: "keys", check: KeysTarget.check),
  ]
}

/// Something that must hold did not.
public struct Broken: Error, CustomStringConvertible {
  public let description: String
}

func require(_ holds: Bool, _ what: @autoclosure () -> String) throws {
  guard holds else { throw Broken(description: what()) }
}
