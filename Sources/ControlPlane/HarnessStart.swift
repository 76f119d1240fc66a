import FoundationEssentials
import Harness
import Sandbox
import SessionModel

/// The making of one harness process: directories, launch files, sandbox.
struct HarnessStart: Sendable {
  let session: Session
  let setup: ControlPlaneConfiguration.HarnessSetup
  let services: SessionDrive.Services
  /// The turn that it is started for.
  let turn: TurnWishes?
  /// Of the session's drive; nil where the session is yet to be.
  var token: FencingToken?

  /// - Throws: `CentaurError` with `harnessStart`, `workspaceFailed`, `leaseLost`, `storeUnavailable`
  func start(generation: Int, begun: ContinuousClock.Instant) async throws -> HarnessProcess {
    let directories = SessionDirectories(data: services.configuration.dataDirectory, session: session.id)
    let persona = session.persona.flatMap { services.configuration.personas[$0] }
    try directories.create()
    try await services.workspaces.make(for: session, services)
    let context = try await context(directories, persona)
    let launch = try setup.adapter.launch(context)
    let id = services.ids.thread()
    let gateway = services.configuration.gateway
    // Before the way out is: who finds the directory closes that too.
    try directories.create(sandbox: id)
    let sandbox: any SandboxHandle
    do {
      let sockets = try await gateway.open(
        sandbox: id, session: session.id, harness: session.harness, persona: session.persona)
      try await checkLease()
      sandbox = try await services.sandboxes.start(
        SandboxSpec(
          id: id, directory: directories.sandbox(id), workspace: directories.workspace, home: directories.home,
          temporary: directories.temporary, command: launch.command,
          environment: launch.environment.merging(sockets.environment) { $1 }, files: launch.files, sockets: sockets,
          limits: services.configuration.limits.sandbox, spoolLimit: services.configuration.limits.spool))
    } catch {
      if await services.sandboxes.stopLeftover(directory: directories.sandbox(id), fence: 0) {
        await gateway.close(sandbox: id)
        directories.removeSandbox(id)
      }
      throw error
    }
    return HarnessProcess(
      generation: generation, sandbox: sandbox, lifetime: setup.adapter.lifetime,
      origin: setup.adapter.hasConversation(context.state, tools: turn?.options.tools ?? []) ? .resumed : .cold,
      startedAt: begun,
      context: context, machine: setup.adapter.machine(context),
      splitter: HarnessLineSplitter(limit: services.configuration.limits.harnessLine))
  }

  /// A server that slept until now may find another one at work in the session's directories: two harnesses in one home
  /// are each other's end.
  private func checkLease() async throws {
    guard let token else { return }
    _ = try await services.store.commit(
      SessionCommit(session: session.id, token: token, time: services.clock.now, events: []))
  }

  private func context(
    _ directories: SessionDirectories, _ persona: ControlPlaneConfiguration.Persona?
  ) async throws -> HarnessContext {
    // What was said is told only to a harness that has not begun the conversation: reading a long log takes time.
    let history =
      setup.adapter.hasConversation(session.harnessState, tools: turn?.options.tools ?? [])
      ? [] : try await earlierConversation()
    return HarnessContext(
      session: session.id, executable: setup.executable, workspace: directories.workspace, home: directories.home,
      temporary: directories.temporary,
      modelBaseURL: "http://127.0.0.1:\(SandboxSpec.modelPort)/v1", model: setup.model, models: setup.models,
      instructions: Self.instructions(persona, session.instructions), state: session.harnessState, turn: turn,
      history: history)
  }

  /// What a session is instructed: by its persona, then by its client.
  static func instructions(_ persona: ControlPlaneConfiguration.Persona?, _ own: String?) -> String? {
    let instructions = [persona?.instructions, own].compactMap(\.self).joined(separator: "\n\n")
    return instructions.isEmpty ? nil : instructions
  }

  /// What was said, but for what is the input of turns that wait to be run: also what another turn was told and said
  /// while they stood in line.
  private func earlierConversation() async throws -> [Message] {
    guard session.lastSeq > 1 else { return [] }
    return try await Conversation.read(session.id, from: services.store).messagesOfTurns
  }
}
