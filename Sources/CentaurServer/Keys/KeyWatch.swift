import Logging
import ServiceLifecycle
import SessionModel

/// Looks after keys beside the requests: cuts the connections of those that were revoked, and of those that came before
/// there was a key, and writes down when keys were used.
///
/// Lifecycle: a service of the server's group. What it has not written down when the server is cancelled is lost.
struct KeyWatch: Service {
  /// How long after its revocation a key, and after the first key whoever came without one, may still be told what was
  /// asked for before.
  static let pause = Duration.seconds(1)
  private static let noteEvery = 60

  let keys: any KeyStore
  let uses: KeyUses
  let logger: Logger

  func run() async throws {
    await cancelWhenGracefulShutdown {
      var round = 0
      while (try? await Task.sleep(for: Self.pause)) != nil {
        round += 1
        await cutRevoked()
        if round % Self.noteEvery == 0 { await note() }
      }
    }
    await note()
  }

  private func cutRevoked() async {
    do {
      if uses.hasConnectionsWithoutKey, try await keys.standing(of: nil) != .noKeys { uses.cutWithoutKey() }
      // Where nobody has a key, no reader is woken.
      guard uses.hasConnectionsWithKey else { return }
      let revoked = try await keys.revokedKeys()
      if !revoked.isEmpty { uses.cut(revoked) }
    } catch { logger.error("revoked keys could not be looked for", metadata: ["error": "\(error)"]) }
  }

  private func note() async {
    let moments = uses.takeMoments()
    guard !moments.isEmpty else { return }
    do { try await keys.noteUse(moments) } catch {
      logger.error("the last use of keys could not be written down", metadata: ["error": "\(error)"])
    }
  }
}
