import SessionModel
import Testing

@testable import Harness

/// Tokens as Claude Code tells them: what a turn's client is billed for depends on it.
struct ClaudeUsageTests {
  @Test("what was read from the cache and what was written to it are parts of the input, each counted by itself")
  func cache() {
    let begun = ClaudeUsage.read([
      "input_tokens": 10, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 2, "output_tokens": 1,
    ])
    #expect(begun == Usage(input: 17, cachedInput: 5, cacheWrite: 2, output: 1))
    // A later event of the same answer names what has changed.
    #expect(ClaudeUsage.read(["output_tokens": 30], over: begun) == begun + Usage(output: 29))
    let models: JSONValue = [
      "a": [
        "inputTokens": 1, "cacheReadInputTokens": 20, "cacheCreationInputTokens": 300, "outputTokens": 4,
        "thinkingTokens": 3,
      ],
      "b": ["inputTokens": 5, "cacheCreationInputTokens": 7],
    ]
    #expect(ClaudeUsage.sum(models) == Usage(input: 333, cachedInput: 20, cacheWrite: 307, output: 4, reasoning: 3))
  }
}
