import ControlPlane
import Glibc
import Logging
import ModelGateway
import Sandbox
import ServiceLifecycle
import SessionModel

/// The server's side of the gateway: sees that one of its own build runs and has the settings, and opens and closes
/// sandboxes' ways out.
///
/// Lifecycle: as a service it holds a connection to the gateway, which tells each of the two when the other ends. A
/// gateway that ends while the server lives is started anew. It ends after the control plane, which closes sandboxes
/// until its own end; the gateway itself stays for as long as it is needed.
actor GatewayLink: SandboxGateway, Service {
  private let composition: Composition
  private let process: GatewayProcess
  private let client: GatewayClient
  private let logger: Logger
  /// The gateway's start, or that it is there.
  private var standing: Task<Void, any Error>?
  private var children: [pid_t] = []
  /// Whether this server has had a gateway. From then on one of another build is as good: the server of a newer release,
  /// which works beside this one, has brought it, and the two would take turns for ever.
  private var hasStood = false

  /// - Throws: `ConfigurationError`, what the file system says
  init(data: String, composition: Composition, program: String, logger: Logger) throws {
    self.composition = composition
    self.logger = logger
    process = GatewayProcess(program: program, data: data, environment: composition.environment)
    client = try GatewayClient(GatewayFiles(data: data))
  }

  func run() async throws {
    await cancelWhenGracefulShutdown { [self] in
      while !Task.isCancelled {
        do {
          let start = try await stand()
          do { try await client.attach() } catch {
            if !Task.isCancelled {
              logger.error("the model gateway has ended; another one is started", metadata: ["error": "\(error)"])
            }
          }
          await fallen(start)
        } catch  where !Task.isCancelled {
          logger.error("the model gateway is not there", metadata: ["error": "\(error)"])
          try? await Task.sleep(for: .milliseconds(500))
        } catch {
          // The server ends.
        }
      }
    }
  }

  // MARK: Sandboxes

  func open(
    sandbox: String, session: SessionID, harness: HarnessName, persona: String?
  ) async throws -> SandboxSockets {
    let grant = composition.grant(session, harness, persona: persona)
    do {
      let start = try await stand()
      do {
        let sockets = try await client.open(sandbox, grant)
        KillPoint.reach("gateway.opened")
        return sockets
      } catch is GatewayClient.Refused {
        throw CentaurError(.harnessStart, "The model gateway cannot open a way out for the sandbox.")
      } catch {
        // It may have ended a moment ago.
        fallen(start)
        try await stand()
        return try await client.open(sandbox, grant)
      }
    } catch let error as CentaurError {
      throw error
    } catch {
      logger.error("a sandbox's way out cannot be opened", metadata: ["error": "\(error)"])
      throw CentaurError(.harnessStart, "The model gateway cannot be reached.")
    }
  }

  func close(sandbox: String) async {
    // Also for one who is cancelled meanwhile: what nobody closes would keep the gateway for ever.
    await Task {
      do { try await client.close(sandbox) } catch {
        logger.notice("a sandbox's way out could not be closed", metadata: ["error": "\(error)"])
      }
    }.value
  }

  // MARK: The process

  /// Returns when a gateway that is of use runs and has this server's settings, with the start that brought it up.
  @discardableResult
  func stand() async throws -> Task<Void, any Error> {
    // Of its own: the first who asks may be cancelled, others wait for it too.
    let start = standing ?? Task { try await bringUp() }
    standing = start
    do { try await start.value } catch {
      fallen(start)
      throw error
    }
    hasStood = true
    return start
  }

  /// What this start brought up is not there: several may find it out, and a newer start goes on.
  private func fallen(_ start: Task<Void, any Error>) {
    if standing == start { standing = nil }
    children.removeAll { pid in
      var status: Int32 = 0
      return waitpid(pid, &status, WNOHANG) != 0
    }
  }

  private func isOfUse(_ status: GatewayClient.Status) -> Bool {
    status.version == GatewayVersion.current && (hasStood || status.build == GatewayVersion.build)
  }

  private func bringUp() async throws {
    if let status = try? await client.status(), isOfUse(status) {
      do {
        return try await client.apply(composition.gatewaySettings)
      } catch let refusal as GatewayClient.Refused {
        throw refusal
      } catch {
        // Nobody had needed it since the last server's end, and it has gone just now: another one comes.
        logger.notice("the model gateway has ended as it was found", metadata: ["error": "\(error)"])
      }
    }
    let pid = try process.spawn()
    children.append(pid)
    for _ in 0..<2000 {
      // One of another version may still answer: it is asked who it is.
      if let status = try? await client.status(), status.pid == pid {
        return try await client.apply(composition.gatewaySettings)
      }
      var status: Int32 = 0
      guard waitpid(pid, &status, WNOHANG) == 0 else {
        // Another server on this data directory may have started one at the same moment; that one stays.
        if let other = try? await client.status(), other.version == GatewayVersion.current {
          return try await client.apply(composition.gatewaySettings)
        }
        throw CentaurError(.harnessStart, "The model gateway ended at its start; its log says why.")
      }
      try await Task.sleep(for: .milliseconds(5))
    }
    kill(pid, SIGKILL)
    throw CentaurError(.harnessStart, "The model gateway did not come up.")
  }
}
