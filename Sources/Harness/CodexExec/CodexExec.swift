public import SessionModel

/// Codex as a harness that is started for each turn: `codex exec --json` (Codex 0.163.0), the older, dotted shape.
///
/// No deltas, no steering, no images; for machines where a process must not wait between turns.
public struct CodexExec: HarnessAdapter {
  public init() {}

  public var name: HarnessName { .codexExec }
  public var lifetime: HarnessLifetime { .turn }

  public func launch(_ context: HarnessContext) throws -> HarnessLaunch {
    let options = ["--json", "--skip-git-repo-check", "--sandbox", "danger-full-access"]
    let launch = CodexLaunch(context)
    // All settings stand behind the subcommand: where some stand before `resume` and others after, Codex loses the
    // former (wire/codex-client.md §9).
    if let thread = context.state?["thread"]?.string {
      // `resume` has no `--sandbox`, and Codex's own would be made anew, inside ours.
      return launch.launch(
        ["exec", "resume", thread, "-", "--json", "--skip-git-repo-check", "-c", "sandbox_mode=\"danger-full-access\""])
    }
    return launch.launch(["exec"] + options + ["-"])
  }

  public func machine(_ context: HarnessContext) -> any HarnessMachine { CodexExecMachine(context) }

  public func machine(saved: [UInt8]) throws -> any HarnessMachine { try CodexExecMachine(saved: saved) }
}
