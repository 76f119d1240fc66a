public import SessionModel

/// Codex as a harness: one `codex app-server` process a session, spoken to over stdio (Codex 0.163.0).
public struct CodexAppServer: HarnessAdapter {
  public init() {}

  public var name: HarnessName { .codex }
  public var lifetime: HarnessLifetime { .session }
  public var longestInput: Int? { CodexInput.longest }

  public func launch(_ context: HarnessContext) throws -> HarnessLaunch {
    CodexLaunch(context).launch(["app-server"])
  }

  /// A thread has the tools that it was started with, whatever `thread/resume` is told.
  public func hasConversation(_ state: JSONValue?, tools: [ClientTool]) -> Bool {
    state?["thread"]?.string != nil && CodexTools.areSettled(in: state, tools)
  }

  /// Instructions come with `thread/start`, and what was said before with `thread/inject_items`.
  public func canBeClaimed(by context: HarnessContext) -> Bool { context.state == nil }

  public func machine(_ context: HarnessContext) -> any HarnessMachine { CodexMachine(context) }

  public func machine(saved: [UInt8]) throws -> any HarnessMachine { try CodexMachine(saved: saved) }
}
