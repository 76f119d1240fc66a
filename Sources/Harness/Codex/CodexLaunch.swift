import SessionModel

/// How a `codex` process is started for a session: the recipe of wire/harness.md §2.4.
///
/// Own model catalogue, because the newest bundled models hide their tools from a gateway and unknown ones warn at
/// each turn; features that call out, start other programs or spawn agents off; the repository's own configuration
/// untrusted; no retries without end; no credential.
struct CodexLaunch {
  private let context: HarnessContext

  init(_ context: HarnessContext) { self.context = context }

  private static let featuresOff = [
    "plugins", "apps", "goals", "multi_agent", "tool_suggest", "image_generation", "skill_search", "browser_use",
    "computer_use", "shell_snapshot", "in_app_browser", "hooks", "remote_plugin", "unbounded_connection_retries",
  ]

  /// Of turns that ask for none.
  static let usualEffort = "medium"

  /// What the model is told of its place, where no client and no persona said more.
  private static let baseInstructions = """
    You are a coding agent. You work in a workspace on a server, on behalf of a user who is elsewhere and reads what you \
    write; they cannot see the workspace or run commands in it. Use your tools to read, change and run what the task \
    needs; prefer doing to asking. Keep changes to what was asked for, check your work by running it, and say at the \
    end in a few sentences what you did and what the user should know.
    """

  func launch(_ subcommand: [String], files: [String: [UInt8]] = [:]) -> HarnessLaunch {
    let environment = ["CODEX_HOME": context.home, "RUST_LOG": "error"]
    return HarnessLaunch(
      command: [context.executable] + subcommand + settings,
      environment: context.environment.merging(environment) { $1 },
      files: files.merging(["catalog.json": catalogue.serialized, "rules/default.rules": Array(Self.rules.utf8)]) { $1 }
    )
  }

  /// `codex exec` asks nobody: it refuses a command with `rm -f` in it (0.163.0), but where each of the programs in it is
  /// one of these or one that only reads. A script that it cannot take apart is `/bin/bash` to it.
  private static let rules = """
    prefix_rule(pattern=[[\(freePrograms.map { "\"\($0)\"" }.joined(separator: ", "))]], decision="allow")

    """

  private static let freePrograms = [
    "/bin/bash", "bash", "sh", "rm", "rmdir", "mkdir", "touch", "cp", "mv", "ln", "chmod", "install", "tee", "tar",
    "zip",
    "unzip", "gzip", "gunzip", "sed", "awk", "find", "xargs", "env", "sleep", "date", "test", "git", "make", "cmake",
    "ninja", "cargo", "rustc", "go", "swift", "gcc", "g++", "clang", "java", "mvn", "gradle", "python", "python3",
    "pip",
    "pytest", "uv", "node", "npm", "npx", "pnpm", "yarn", "tsc", "ruby", "bundle", "perl", "php", "docker", "curl",
    "wget",
  ]

  /// `-c` pairs; values are TOML, whose basic strings are written like JSON's.
  private var settings: [String] {
    let turn = context.turn?.options
    let wishes: [(String, String?)] = [
      ("model_reasoning_effort", turn?.effort), ("model_reasoning_summary", turn?.summary),
      ("service_tier", turn?.serviceTier),
    ]
    let strings: [(String, String)] =
      wishes.compactMap { name, value in value.map { (name, $0) } } + [
        ("model", context.turn?.model ?? context.model), ("model_provider", "centaur"),
        ("model_providers.centaur.name", "centaur"),
        ("model_providers.centaur.base_url", context.modelBaseURL), ("model_providers.centaur.wire_api", "responses"),
        ("model_catalog_json", "\(context.home)/catalog.json"), ("sqlite_home", "\(context.temporary)/codex-sqlite"),
        ("cli_auth_credentials_store", "ephemeral"), ("web_search", "disabled"),
      ]
    let bare: [(String, String)] =
      [
        ("model_providers.centaur.supports_websockets", "false"),
        ("model_providers.centaur.request_max_retries", "2"), ("model_providers.centaur.stream_max_retries", "2"),
        ("projects", "{\(quoted(context.workspace))={trust_level=\"untrusted\"}}"),
        ("check_for_update_on_startup", "false"), ("analytics.enabled", "false"), ("skills.bundled.enabled", "false"),
        ("include_permissions_instructions", "false"), ("shell_environment_policy.ignore_default_excludes", "false"),
      ] + Self.featuresOff.map { ("features.\($0)", "false") }
    return (strings.map { ($0, quoted($1)) } + bare).flatMap { ["-c", "\($0)=\($1)"] }
  }

  private func quoted(_ text: String) -> String { JSONValue.string(text).text }

  /// Of the tiers of OpenAI's API, Codex (0.163.0) asks for those alone that its catalogue has for the model.
  private static let serviceTiers = JSONValue.array(
    ["flex", "priority", "scale", "ultrafast"].map { ["id": $0, "name": $0, "description": $0] })

  private var catalogue: JSONValue {
    ["models": .array(context.models.enumerated().map { entry($1, priority: $0 + 1) })]
  }

  private func entry(_ model: String, priority: Int) -> JSONValue {
    let efforts = ["minimal", "low", "medium", "high"].map { effort -> JSONValue in
      ["effort": .string(effort), "description": .string(effort)]
    }
    return [
      "slug": .string(model), "display_name": .string(model), "description": .string(model),
      "supported_reasoning_levels": .array(efforts), "default_reasoning_level": .string(Self.usualEffort),
      "shell_type": "unified_exec", "apply_patch_tool_type": "freeform", "visibility": "list",
      "supported_in_api": true, "priority": JSONValue(priority), "service_tiers": Self.serviceTiers,
      "base_instructions": .string(Self.baseInstructions),
      "supports_reasoning_summaries": true, "support_verbosity": false,
      "truncation_policy": ["mode": "tokens", "limit": 10000], "supports_parallel_tool_calls": true,
      "experimental_supported_tools": [], "input_modalities": ["text", "image"], "context_window": 272_000,
      "use_responses_lite": false,
    ]
  }
}
