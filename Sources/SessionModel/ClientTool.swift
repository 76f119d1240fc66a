/// A function of the client's that the agent may call: the client runs it, and the turn waits for what it says.
public struct ClientTool: Sendable, Hashable {
  public var name: String
  public var description: String
  /// A JSON schema of an object.
  public var parameters: JSONValue

  public init(name: String, description: String = "", parameters: JSONValue = .object(JSONObject())) {
    self.name = name
    self.description = description
    self.parameters = parameters
  }
}

/// Names one call of a client's tool: the turn, and the call's ordinal among that turn's items.
///
/// Its name on the wire follows from the log (`call_<execution>_<ordinal>`), so that what a client sends back names the
/// turn that waits for it, whatever else the client keeps.
public struct ClientCallID: Sendable, Hashable, Codable, CustomStringConvertible {
  public let execution: ExecutionID
  public let ordinal: Int

  public init(_ execution: ExecutionID, _ ordinal: Int) {
    self.execution = execution
    self.ordinal = ordinal
  }

  /// Reads a name of any dialect; nil for one that is not ours.
  public init?(_ name: String) {
    let parts = name.split(separator: "_", omittingEmptySubsequences: false)
    guard parts.count == 3, parts[0] == "call" || parts[0] == "toolu", !parts[1].isEmpty, parts[1].utf8.count <= 64,
      parts[1].utf8.allSatisfy(Self.isOfExecutions), parts[2].utf8.count <= 9, let ordinal = Int(parts[2]), ordinal > 0,
      String(ordinal) == parts[2]
    else { return nil }
    self.init(ExecutionID(rawValue: String(parts[1])), ordinal)
  }

  /// Of a name that goes into files and frames: no other byte is in one of ours.
  private static func isOfExecutions(_ byte: UInt8) -> Bool {
    byte == 0x2D
      || Character(Unicode.Scalar(byte)).isASCII
        && (Character(Unicode.Scalar(byte)).isLetter || Character(Unicode.Scalar(byte)).isNumber)
  }

  /// As the log, the session API and `/v1/responses` name it.
  public var description: String { name("call") }

  /// As a dialect names it: `call`, `toolu`.
  public func name(_ prefix: String) -> String { "\(prefix)_\(execution)_\(ordinal)" }
}

/// A call that waits for its client.
public struct ClientCall: Sendable, Hashable {
  public var id: ClientCallID
  /// As the client named the tool.
  public var name: String
  public var arguments: JSONValue

  public init(id: ClientCallID, name: String, arguments: JSONValue) {
    self.id = id
    self.name = name
    self.arguments = arguments
  }
}

/// What a client's tool said.
public struct ToolOutput: Sendable, Hashable {
  public var call: ClientCallID
  public var parts: [Message.Part]
  public var isError: Bool

  public init(call: ClientCallID, parts: [Message.Part], isError: Bool = false) {
    self.call = call
    self.parts = parts
    self.isError = isError
  }
}
