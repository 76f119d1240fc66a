import Harness
import Logging
import Sandbox
import SessionModel

/// The way to the session's harness: the link to its shim, which may break and is found again while the shim lives.
extension SessionDrive {
  /// Listens to a process from here on.
  func attend(_ started: HarnessProcess) {
    process = started
    guard !hasEnded else { return }
    let sandbox = started.sandbox
    let number = started.generation
    let offset = started.splitter.end
    let fence = fence(number)
    // It holds the drive for as long as the process lives; `discardProcess` ends it.
    process?.reader = Task {
      await withTaskGroup { group in
        group.addTask {
          guard let limit = await sandbox.limitExceeded() else { return }
          self.post { drive in await drive.exceeded(limit, number) }
        }
        await follow(sandbox, number, fence: fence, from: offset)
        group.cancelAll()
      }
    }
    schedule(.start, after: services.configuration.limits.harnessStart) { drive in
      guard drive.process?.isReady == false else { return }
      await drive.processEnded(HarnessExit(status: nil, reason: "it did not become ready in time"))
    }
  }

  /// What this drive attaches with to a process: newer than every attachment under an earlier lease.
  func fence(_ number: Int) -> Int64 { (token?.epoch ?? 0) << 24 + Int64(number) }

  /// Passes on what a sandbox tells until its shim is gone. A link that breaks is no more than that: it is made anew,
  /// unless that has brought nothing several times in a row.
  private nonisolated func follow(
    _ sandbox: any SandboxHandle, _ number: Int, fence: Int64, from begin: Int64
  ) async {
    var offset = begin
    var failures = 0
    while true {
      do {
        try await listen(to: sandbox, number, fence: fence, from: offset)
      } catch let error as CentaurError where error.code == .leaseLost {
        logger.notice("another server has a sandbox", metadata: ["error": "\(error)"])
        break
      } catch is CancellationError {
        // We have ended it: the sandbox stops, or its session has another one.
      } catch {
        logger.notice("the link to a sandbox ended", metadata: ["error": "\(error)"])
      }
      guard !Task.isCancelled, let next = await endOfOutput(of: number) else { break }
      failures = next == offset ? failures + 1 : 1
      guard failures < Self.linkTries else { break }
      offset = next
    }
    post { drive in await drive.linkEnded(number) }
  }

  /// A shim that is about to end breaks each link.
  private static let linkTries = 4

  private nonisolated func listen(
    to sandbox: any SandboxHandle, _ number: Int, fence: Int64, from offset: Int64
  ) async throws {
    try await sandbox.withLink(fence: fence, offset: offset) { link, events in
      var events = events
      try await serially { drive in await drive.linked(link, number) }
      // One chunk at a time: what the drive cannot take yet waits in the shim's spool.
      while let event = try await events.next() {
        try await serially { drive in await drive.received(event, from: number) }
      }
    }
  }

  /// How far a process's output was read; nil where it is not the session's any more.
  private nonisolated func endOfOutput(of number: Int) async -> Int64? {
    try? await serially { drive in
      guard let process = drive.process, process.generation == number, !process.isEnding else { return nil }
      return process.splitter.end
    }
  }

  private func linked(_ link: ShimLink, _ number: Int) async {
    guard process?.generation == number else { return }
    let isBack = process?.link != nil
    process?.link = link
    guard let process else { return }
    if process.isTakenOver || isBack { return await reach(process, link) }
    guard process.isClaimed, let context = process.context else { return await drive { $0.launched() } }
    await drive { $0.claimed(by: context) }
  }

  /// Gives a harness what it may not have been given: by an earlier server, or by a link that broke.
  private func reach(_ process: HarnessProcess, _ link: ShimLink) async {
    let taken = Set(link.hello.takenInputIDs)
    self.process?.onTheWay.removeAll { taken.contains($0.id) }
    self.process?.signals = []
    // Heeded once: before a turn has begun, nothing but the harness runs.
    if process.isReady { await tell { try await $0.keep() } }
    for signal in process.signals { await give(signal: signal) }
    for frame in self.process?.onTheWay ?? [] { await send(frame) }
    if process.isReady, running == nil { await sweepProcess() }
  }

  /// Input goes to the harness, now or when its shim is reached.
  func give(_ frame: InputFrame) async {
    process?.onTheWay.append(frame)
    await send(frame)
  }

  /// Likewise a signal.
  func give(signal: Int32) async {
    guard await !tell({ try await $0.signal(signal) }) else { return }
    process?.signals.append(signal)
  }

  private func send(_ frame: InputFrame) async {
    await tell { try await $0.send(inputID: frame.id, bytes: [UInt8](frame.bytes), closesInput: frame.closesInput) }
  }

  /// Tells the shim something. Where it is gone the link's reader notices too, and ends the process in its turn.
  /// - Returns: whether it could be told
  @discardableResult
  func tell(_ body: (ShimLink) async throws -> Void) async -> Bool {
    guard let link = process?.link else { return false }
    do {
      try await body(link)
      return true
    } catch {
      logger.notice("a sandbox could not be told", metadata: ["error": "\(error)"])
      return false
    }
  }

  /// What a turn has started ends with it; the harness stays for the next one.
  func sweepProcess() async {
    guard process?.link != nil else { return }
    process?.isSweeping = true
    await tell { try await $0.sweep() }
  }
}
