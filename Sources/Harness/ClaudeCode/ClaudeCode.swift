public import SessionModel

/// Claude Code as a harness: one `claude` process a session, spoken to by stream-json over stdio (Claude Code 2.1.330).
public struct ClaudeCode: HarnessAdapter {
  public init() {}

  public var name: HarnessName { .claude }
  public var lifetime: HarnessLifetime { .session }

  public func launch(_ context: HarnessContext) throws -> HarnessLaunch { ClaudeLaunch(context).launch }

  /// Instructions come with `initialize`; what was said before, by a file that is there before the process.
  public func canBeClaimed(by context: HarnessContext) -> Bool { context.state == nil && context.history.isEmpty }

  public func machine(_ context: HarnessContext) -> any HarnessMachine { ClaudeMachine(context) }

  public func machine(saved: [UInt8]) throws -> any HarnessMachine { try ClaudeMachine(saved: saved) }

  public func hasConversation(_ state: JSONValue?, tools: [ClientTool]) -> Bool {
    ClaudeConversation.isBegun(state)
  }
}
