import Glibc
import SessionModel
import Synchronization

/// What a session has used, in a file that is only ever appended to: while a newer gateway takes over, the older one
/// still writes down what its last calls cost, and both see the sum.
///
/// A line is `requests input output`. What was used is known after a call: calls at one time may go over a limit
/// together, by what they cost.
final class SessionLedger: Sendable {
  struct Sum: Sendable, Hashable {
    var requests = 0
    var input = 0
    var output = 0
    var tokens: Int { input + output }
  }

  private struct State {
    var sum = Sum()
    /// Bytes of the file that are in the sum.
    var read = 0
  }

  private let path: String
  private let state = Mutex(State())

  init(path: String) { self.path = path }

  var sum: Sum { state.withLock { Self.catchUp(&$0, path) } }

  /// Takes a call into account if the limits allow one more.
  /// - Throws: `CentaurError` with `sessionTokenLimit`, `sessionRequestLimit` or `storeUnavailable`
  func admit(_ limits: GatewayLimits) throws(CentaurError) {
    let failure: CentaurError? = state.withLock { state in
      let sum = Self.catchUp(&state, path)
      if let most = limits.sessionTokens, sum.tokens >= most {
        return CentaurError(
          .sessionTokenLimit, "This session has used \(sum.tokens) tokens; the limit of a session is \(most).")
      }
      if let most = limits.sessionRequests, sum.requests >= most {
        return CentaurError(
          .sessionRequestLimit, "This session has made \(sum.requests) model calls; the limit of a session is \(most).")
      }
      return append("1 0 0\n")
        ? nil : CentaurError(.storeUnavailable, "The model gateway cannot write down what this session uses.")
    }
    if let failure { throw failure }
  }

  func add(_ usage: Usage) {
    guard usage.total > 0 else { return }
    _ = append("0 \(usage.input) \(usage.output)\n")
  }

  private func append(_ line: String) -> Bool {
    let descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    let bytes = Array(line.utf8)
    return write(descriptor, bytes, bytes.count) == bytes.count
  }

  private static func catchUp(_ state: inout State, _ path: String) -> Sum {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return state.sum }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: 64 << 10)
    while true {
      let count = pread(descriptor, &bytes, bytes.count, off_t(state.read))
      // An unfinished line is read when it is whole.
      guard count > 0, let end = bytes[..<count].lastIndex(of: 0x0A) else { return state.sum }
      for line in bytes[...end].split(separator: 0x0A) {
        let fields = line.split(separator: 0x20).map { Int(String(decoding: $0, as: UTF8.self)) ?? 0 }
        guard fields.count == 3 else { continue }
        state.sum.requests += fields[0]
        state.sum.input = Usage.bounded(state.sum.input + Usage.bounded(fields[1]))
        state.sum.output = Usage.bounded(state.sum.output + Usage.bounded(fields[2]))
      }
      state.read += end + 1
    }
  }
}
