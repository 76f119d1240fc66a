#if DEBUG
  import Glibc
  import Synchronization
#endif

/// Places at which a test ends this process as a power cut or `kill -9` would. Debug builds have them, release builds
/// have none: there `reach` is empty and nothing reads the variables.
///
/// `CENTAUR_KILL_AT=NAME#7,OTHER#1` ends the process by SIGKILL when it reaches NAME for the 7th time, or OTHER for the
/// first. `CENTAUR_KILL_MARK=FILE`: the one that kills makes FILE and writes its name into it; where FILE is there
/// already nothing is killed, so that what is started in the place of the dead does not die too.
/// `CENTAUR_KILL_COUNT=FILE`: a process that ends by itself adds a line `NAME COUNT` for each point that it reached, so
/// that a test can choose a number that will come. `CENTAUR_SHIM_KILL_AT` is for the shims that this process starts,
/// whose environment is the harness's: they are told on their command line.
public enum KillPoint {
  #if DEBUG
    /// Whether anybody wants to know; names that cost something to make are made only then.
    public static var isWatched: Bool { plan != nil }

    /// Ends the process here, if it was told to.
    public static func reach(_ name: @autoclosure () -> String) {
      guard let plan else { return }
      let name = name()
      let count = plan.counts.withLock { counts in
        counts[name, default: 0] += 1
        return counts[name, default: 0]
      }
      guard plan.kills.contains("\(name)#\(count)"), mark("\(name)#\(count)", plan.mark) else { return }
      kill(getpid(), SIGKILL)
    }

    /// The options that make a shim die at a point of its own.
    public static let shimArguments: [String] = {
      guard let points = variable("CENTAUR_SHIM_KILL_AT") else { return [] }
      return ["--kill-at", points] + (variable("CENTAUR_KILL_MARK").map { ["--kill-mark", $0] } ?? [])
    }()

    /// The variables that a process which is not a sandbox's passes on.
    public static let variables = ["CENTAUR_KILL_AT", "CENTAUR_KILL_COUNT", "CENTAUR_KILL_MARK"]

    private final class Plan: Sendable {
      let kills: Set<String>
      let mark: String?
      let counts = Mutex<[String: Int]>([:])

      init(kills: Set<String>, mark: String?) {
        self.kills = kills
        self.mark = mark
      }
    }

    private static let plan: Plan? = {
      let points = variable("CENTAUR_KILL_AT")
      guard points != nil || variable("CENTAUR_KILL_COUNT") != nil else { return nil }
      if variable("CENTAUR_KILL_COUNT") != nil { atexit { KillPoint.writeCounts() } }
      return Plan(
        kills: Set((points ?? "").split(separator: ",").map(String.init)), mark: variable("CENTAUR_KILL_MARK"))
    }()

    private static func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

    private static func mark(_ point: String, _ path: String?) -> Bool {
      guard let path else { return true }
      let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
      guard file >= 0 else { return false }
      write(file, "\(point) \(getpid())\n")
      close(file)
      return true
    }

    private static func writeCounts() {
      guard let plan, let path = variable("CENTAUR_KILL_COUNT") else { return }
      let counts = plan.counts.withLock { $0 }
      let file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
      guard file >= 0 else { return }
      write(file, counts.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)\n" }.joined())
      close(file)
    }

    private static func write(_ file: Int32, _ text: String) {
      let bytes = Array(text.utf8)
      _ = Glibc.write(file, bytes, bytes.count)
    }
  #else
    @inlinable public static var isWatched: Bool { false }
    @inlinable public static func reach(_ name: @autoclosure () -> String) {}
    @inlinable public static var shimArguments: [String] { [] }
    @inlinable public static var variables: [String] { [] }
  #endif
}
