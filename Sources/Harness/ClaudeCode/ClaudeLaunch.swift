import SessionModel

/// How a `claude` process is started for a session: the recipe of wire/harness.md §3.1.
///
/// Nothing of the repository runs at start (settings, hooks, MCP servers, skills), nothing is asked of a person, no work
/// goes on behind a turn's end, no retries without end, no credential.
struct ClaudeLaunch {
  private let context: HarnessContext
  private let conversation: ClaudeConversation

  init(_ context: HarnessContext) {
    self.context = context
    conversation = ClaudeConversation(context)
  }

  /// Without those that reach the network, wait for a person, or start work of their own accord.
  private static let tools = ["Agent", "Bash", "Edit", "Glob", "Grep", "NotebookEdit", "Read", "TodoWrite", "Write"]

  private static let instructions = "instructions.md"

  var launch: HarnessLaunch {
    var command = [
      context.executable, "-p", "--input-format", "stream-json", "--output-format", "stream-json",
      "--include-partial-messages", "--verbose", "--model", context.model, "--permission-mode", "bypassPermissions",
      "--tools", Self.tools.joined(separator: ","), "--disable-slash-commands", "--strict-mcp-config",
      "--setting-sources", "",
    ]
    var files: [String: [UInt8]] = [:]
    switch conversation.beginning {
    case .new: command += ["--session-id", conversation.id]
    case .resumed: command.append("--resume=\(conversation.id)")
    case .seeded:
      command.append("--resume=\(conversation.id)")
      if let file = ClaudeTranscript(context, id: conversation.id).file { files[file.path] = file.content }
    }
    if let instructions = context.instructions {
      // By a file: an argument is short.
      command += ["--append-system-prompt-file", "\(context.home)/\(Self.instructions)"]
      files[Self.instructions] = Array(instructions.utf8)
    }
    return HarnessLaunch(
      command: command, environment: context.environment.merging(environment) { $1 }, files: files)
  }

  private var environment: [String: String] {
    // Claude Code appends `/v1/messages` by itself.
    let base = context.modelBaseURL
    return [
      "ANTHROPIC_BASE_URL": base.hasSuffix("/v1") ? String(base.dropLast("/v1".count)) : base,
      // It refuses to work without one; the gateway puts the real one in its place.
      "ANTHROPIC_AUTH_TOKEN": "placeholder",
      "CLAUDE_CONFIG_DIR": context.home,
      "CLAUDE_MODEL": context.model,
      // Sub-agents and small tasks would ask for models that the gateway does not let through.
      "ANTHROPIC_DEFAULT_OPUS_MODEL": context.model,
      "ANTHROPIC_DEFAULT_SONNET_MODEL": context.model,
      "ANTHROPIC_DEFAULT_HAIKU_MODEL": context.model,
      "CLAUDE_CODE_SUBAGENT_MODEL": context.model,
      // Root may bypass permissions only where it says that it is in a sandbox. Who we are is not known here, and for
      // any other user the variable changes nothing.
      "IS_SANDBOX": "1",
      "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
      "DISABLE_AUTOUPDATER": "1",
      "CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS": "1",
      "ENABLE_TOOL_SEARCH": "false",
      // With it the harness would begin turns by itself when a command ends.
      "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
      // What it would note down for later conversations nobody would read: a session's home is its own.
      "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
      "CLAUDE_CODE_DISABLE_LEGACY_MODEL_REMAP": "1",
      // A client's tool may take as long as its client likes; the wait is ours to end. (Milliseconds, as many as it takes.)
      "MCP_TOOL_TIMEOUT": "2147483647",
      "CLAUDE_CODE_MCP_AUTO_BACKGROUND_MS": "0",
      "CLAUDE_CODE_MAX_RETRIES": "2",
    ]
  }
}
