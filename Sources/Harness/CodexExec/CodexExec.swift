public import SessionModel

/// Codex as a harness that is started for each turn: `codex exec --json` (Codex 0.163.0), the older, dotted shape.
///
/// No deltas, no steering, no images; for machines where a process must not wait between turns.
public struct CodexExec: HarnessAdapter {
  public init() {}

  public var name: HarnessName { .codexExec }
  public var lifetime: HarnessLifetime { .turn }
  public var longestInput: Int? { CodexInput.longest }

  public func launch(_ context: HarnessContext) throws -> HarnessLaunch {
    let options = ["--json", "--skip-git-repo-check", "--sandbox", "danger-full-access"]
    let launch = CodexLaunch(context)
    var files: [String: [UInt8]] = [:]
    var format: [String] = []
    if let schema = context.turn?.options.outputSchema, AnswerFormat.canBeStrict(schema) {
      files[Self.schemaFile] = schema.serialized
      format = ["--output-schema", "\(context.home)/\(Self.schemaFile)"]
    }
    // All settings stand behind the subcommand: where some stand before `resume` and others after, Codex loses the
    // former (wire/codex-client.md §9).
    if let thread = context.state?["thread"]?.string {
      // `resume` has no `--sandbox`, and Codex's own would be made anew, inside ours.
      return launch.launch(
        ["exec", "resume", thread, "-", "--json", "--skip-git-repo-check", "-c", "sandbox_mode=\"danger-full-access\""]
          + format, files: files)
    }
    return launch.launch(["exec"] + options + format + ["-"], files: files)
  }

  private static let schemaFile = "answer.schema.json"

  public func machine(_ context: HarnessContext) -> any HarnessMachine { CodexExecMachine(context) }

  public func machine(saved: [UInt8]) throws -> any HarnessMachine { try CodexExecMachine(saved: saved) }
}
