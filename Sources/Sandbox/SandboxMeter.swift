/// What is counted of one sandbox: what its control groups tell, and the bytes of its directories.
struct SandboxMeter: Sendable {
  private let directories: [String]
  /// Bytes that they may take.
  private let disk: Int
  private let groups: SandboxGroups?

  /// To be made before the sandbox is: what a session holds already is not this turn's doing, and it must be able to
  /// make room. For one that is found running the same holds of what it has written so far.
  init(_ place: SandboxPlace, groups: SandboxGroups?) async {
    directories = [place.workspace, place.home, place.temporary]
    self.groups = groups
    // One that hides something is not let to hide more.
    let held = await Self.used(directories)
    disk = max(place.limits.disk, held == .max ? 0 : held + Self.room)
  }

  /// How often the groups are asked. A process that is refused or killed at its limit has done no harm.
  private static let interval = Duration.milliseconds(250)

  /// What one that is full already may add while it makes room, in bytes.
  private static let room = 1 << 20

  func limitExceeded() async -> SandboxLimit? {
    var nextWalk = ContinuousClock.now + .seconds(1)
    while true {
      do { try await Task.sleep(for: Self.interval) } catch { return nil }
      if let limit = groups?.exceededLimit { return limit }
      guard ContinuousClock.now >= nextWalk else { continue }
      let begun = ContinuousClock.now
      if await Self.used(directories) > disk { return .disk }
      // A large tree takes long to walk; it is looked at less often.
      nextWalk = .now + max(.seconds(1), begun.duration(to: .now) * 20)
    }
  }

  /// Bytes on disk, with something for each name: a file system has no endless supply of them. What hides, by depth or
  /// number, is too much. It walks the trees, on a thread that may wait.
  private static func used(_ directories: [String]) async -> Int {
    let counted = try? await blocking {
      var sum = 0
      for directory in directories {
        let measure = Tree.measure(directory)
        guard measure.isWhole else { return Int.max }
        sum += measure.bytes + measure.entries * 512
      }
      return sum
    }
    return counted ?? 0
  }
}
