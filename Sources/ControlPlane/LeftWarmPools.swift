import Logging
import Sandbox
import SessionModel

/// What the pools of servers that have ended have left: each server ends it, also one that has no pool of its own.
struct LeftWarmPools: Sendable {
  let services: SessionDrive.Services

  /// What a session took is the session's.
  func sweep() async {
    let (data, node) = (services.configuration.dataDirectory, services.configuration.node)
    let marks = WarmPoolMarks(data: data, node: node)
    for id in marks.left(by: services.configuration.isDead) {
      do {
        let isTaken = try await services.store.session(id) != nil
        if !isTaken {
          guard await end(SessionDirectories(data: data, session: id)) else { continue }
        }
        marks.remove(id)
      } catch {
        services.logger.error("a pool's sandbox could not be looked after", metadata: ["error": "\(error)"])
      }
    }
  }

  /// - Returns: false where a session has it after all
  private func end(_ directories: SessionDirectories) async -> Bool {
    for sandbox in directories.sandboxes {
      // As the pool had it: a session's fence is newer.
      let isEnded = await services.sandboxes.stopLeftover(directory: directories.sandbox(sandbox), fence: 0)
      guard isEnded else { return false }
      await services.configuration.gateway.close(sandbox: sandbox)
    }
    directories.remove()
    return true
  }
}
