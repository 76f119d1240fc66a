import FoundationEssentials
import Glibc

/// What a shim that was killed leaves behind where nothing is isolated: no namespace ends with it, and its orphans have
/// become init's. They are known by a variable that all of a sandbox's processes inherit.
enum ProcessLeftovers {
  /// Holds the shim's directory: a copy of the sandbox has the same id, and processes of its own.
  static let variable = "CENTAUR_SANDBOX"

  /// Ends them, until none is left: what is ended may have started others meanwhile. It looks at every process of the
  /// machine, on a thread that may wait; a shim that ended in order took its socket and all that it kept with it.
  /// - Parameter shim: the directory of the sandbox's shim.
  static func end(of shim: String) async {
    guard access("\(shim)/socket", F_OK) == 0 else { return }
    // Of its own: whoever asked may be cancelled.
    await Task {
      for _ in 0..<200 {
        let left = (try? await blocking { processes(of: shim) }) ?? []
        guard !left.isEmpty else { return }
        for pid in left { kill(pid, SIGKILL) }
        try? await Task.sleep(for: .milliseconds(2))
      }
    }.value
  }

  private static func processes(of shim: String) -> [pid_t] {
    let mark = Data("\(variable)=\(shim)".utf8)
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return names.compactMap { pid_t($0) }.filter { pid in
      guard let environment = try? Data(contentsOf: URL(filePath: "/proc/\(pid)/environ")) else { return false }
      return environment.split(separator: 0).contains(mark)
    }
  }
}
