import Sandbox
import SessionModel

extension SandboxLimit {
  /// What a user is told whose turn ran into it.
  func error(_ limits: SandboxLimits) -> CentaurError {
    switch self {
    case .memory:
      CentaurError(
        .sandboxMemory,
        "What ran in the session's sandbox needed more memory than the \(limits.memory.asBytes) it may have.")
    case .processes:
      CentaurError(
        .sandboxProcesses,
        "What ran in the session's sandbox started more than the \(limits.processes) processes it may have.")
    case .disk:
      CentaurError(
        .sandboxDisk, "The session's files took more than the \(limits.disk.asBytes) they may take. Make room first.")
    }
  }
}

extension CentaurError.Code {
  /// Whether a sandbox took more than it may.
  var isOfSandboxLimit: Bool { self == .sandboxMemory || self == .sandboxProcesses || self == .sandboxDisk }
}

extension Int {
  /// `512 MiB`, `4 GiB`, for people.
  fileprivate var asBytes: String {
    for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] where self >= 1 << shift && self % (1 << shift) == 0 {
      return "\(self >> shift) \(unit)"
    }
    return "\(self) bytes"
  }
}
