/// Tokens of one model call or of several. Input that was read from the provider's cache, and input that was written to
/// it, are parts of `input`; reasoning is part of `output`.
///
/// A harness and a provider may say any number: none is negative here, and none so large that sums run over.
public struct Usage: Sendable, Hashable {
  public private(set) var input: Int
  public private(set) var cachedInput: Int
  public private(set) var cacheWrite: Int
  public private(set) var output: Int
  public private(set) var reasoning: Int

  /// More than all machines will ever count.
  public static let maximum = 1 << 50

  public init(input: Int = 0, cachedInput: Int = 0, cacheWrite: Int = 0, output: Int = 0, reasoning: Int = 0) {
    self.input = Self.bounded(input)
    self.cachedInput = Self.bounded(cachedInput)
    self.cacheWrite = Self.bounded(cacheWrite)
    self.output = Self.bounded(output)
    self.reasoning = Self.bounded(reasoning)
  }

  /// A number of tokens that somebody else says.
  public static func bounded(_ tokens: Int) -> Int { min(max(tokens, 0), maximum) }

  public var total: Int { input + output }

  public static func + (left: Usage, right: Usage) -> Usage {
    Usage(
      input: left.input + right.input, cachedInput: left.cachedInput + right.cachedInput,
      cacheWrite: left.cacheWrite + right.cacheWrite,
      output: left.output + right.output, reasoning: left.reasoning + right.reasoning)
  }

  /// What is left of a sum; no part of it is less than nothing.
  public static func - (left: Usage, right: Usage) -> Usage {
    Usage(
      input: max(0, left.input - right.input), cachedInput: max(0, left.cachedInput - right.cachedInput),
      cacheWrite: max(0, left.cacheWrite - right.cacheWrite),
      output: max(0, left.output - right.output), reasoning: max(0, left.reasoning - right.reasoning))
  }
}

extension Usage: Codable {
  private enum CodingKeys: String, CodingKey {
    case input, cachedInput, cacheWrite, output, reasoning
  }

  /// A harness's machine that an earlier version saved knows nothing of cache writes.
  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    self.init(
      input: try values.decode(Int.self, forKey: .input),
      cachedInput: try values.decode(Int.self, forKey: .cachedInput),
      cacheWrite: try values.decodeIfPresent(Int.self, forKey: .cacheWrite) ?? 0,
      output: try values.decode(Int.self, forKey: .output),
      reasoning: try values.decode(Int.self, forKey: .reasoning))
  }
}

/// What a turn has cost so far: its newest model call, and the sum of all of them.
///
/// The newest call's input is the size of the conversation, which is what a CLI wants to know; the sum is the bill.
public struct TurnUsage: Sendable, Hashable {
  public var last: Usage
  public var sum: Usage
  public var modelCalls: Int

  public init(last: Usage = Usage(), sum: Usage = Usage(), modelCalls: Int = 0) {
    self.last = last
    self.sum = sum
    self.modelCalls = modelCalls
  }

  public mutating func add(_ call: Usage) {
    last = call
    sum = sum + call
    modelCalls += 1
  }

  /// What has come since an earlier moment of the same turn.
  public func since(_ earlier: TurnUsage) -> TurnUsage {
    guard modelCalls > earlier.modelCalls else { return TurnUsage() }
    return TurnUsage(last: last, sum: sum - earlier.sum, modelCalls: modelCalls - earlier.modelCalls)
  }
}
