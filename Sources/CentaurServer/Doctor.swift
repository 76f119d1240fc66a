import FoundationEssentials
import Glibc
import SQLiteStore
import Sandbox
import SessionModel

/// Looks whether this machine can do what the configuration asks for, before anybody's turn finds out.
public struct Doctor: Sendable {
  public struct Finding: Sendable, Hashable {
    public enum Verdict: String, Sendable, Hashable {
      case good = "ok"
      /// It works, and somebody should know.
      case warning = "warn"
      case bad = "FAIL"
    }

    public var verdict: Verdict
    public var name: String
    public var text: String
  }

  private let configuration: ServerConfiguration
  private let environment: [String: String]

  public init(configuration: ServerConfiguration, environment: [String: String]) {
    self.configuration = configuration
    self.environment = environment
  }

  public func findings() async -> [Finding] {
    var findings: [Finding] = []
    let data = DataDirectory.absolute(configuration.data)
    let isThere = FileManager.default.fileExists(atPath: data)
    findings.append(
      isThere && access(data, R_OK | W_OK | X_OK) != 0
        ? Finding(verdict: .bad, name: "data", text: "\(data) cannot be written by this user")
        : Finding(verdict: .good, name: "data", text: isThere ? data : "\(data), to be made"))
    let files = OpenFiles.raised()
    findings.append(
      files.notice(configuration.limits).map { Finding(verdict: .warning, name: "files", text: $0) }
        ?? Finding(
          verdict: .good, name: "files",
          text: "\(files.limit) may be open: \(configuration.limits.connections) connections"))
    findings += await sandbox(trials: isThere ? data : FileManager.default.temporaryDirectory.path)
    findings += await workspaces(scratch: isThere ? data : FileManager.default.temporaryDirectory.path)
    findings += harnesses
    findings += keys
    findings.append(await whoIsLetIn)
    return findings
  }

  private func sandbox(trials: String) async -> [Finding] {
    guard configuration.sandbox == .bubblewrap else {
      return [
        Finding(
          verdict: .warning, name: "sandbox",
          text: "process: agents run with this user's rights, can read its files and reach the network")
      ]
    }
    do {
      let choice = SandboxChoice(
        configuration: configuration, environment: environment, shim: try Composition.shimPath())
      return await choice.check(data: trials).findings.map {
        Finding(verdict: $0.isGood ? .good : .bad, name: $0.name, text: $0.text)
      }
    } catch {
      return [Finding(verdict: .bad, name: "shim", text: "\(error)")]
    }
  }

  /// What workspaces are to begin with.
  private func workspaces(scratch: String) async -> [Finding] {
    let sources =
      [(nil, configuration.workspace)]
      + configuration.personas.sorted { $0.key < $1.key }.compactMap { name, persona in
        persona.workspace.map { (name, $0) }
      }
    var findings: [Finding] = []
    for (persona, source) in sources where source != .empty {
      let whose = persona.map { "of the persona '\($0)': " } ?? ""
      do {
        try await Workspace.check(source, scratch: scratch)
        findings.append(Finding(verdict: .good, name: "workspace", text: whose + source.description))
      } catch let failure as WorkspaceFailure {
        let text = "\(whose)\(source.description): \(failure.message) \(failure.detail)"
        findings.append(Finding(verdict: .bad, name: "workspace", text: text.onOneLine))
      } catch { findings.append(Finding(verdict: .bad, name: "workspace", text: "\(whose)\(error)".onOneLine)) }
    }
    return findings
  }

  private var harnesses: [Finding] {
    configuration.harnesses.sorted { $0.key < $1.key }.compactMap { name, harness in
      guard let program = Composition.program(of: name) else { return nil }
      let path = HarnessExecutable.path(program, configured: harness.binary, environment: environment)
      return access(path, X_OK) == 0
        ? Finding(verdict: .good, name: name, text: path)
        : Finding(verdict: .warning, name: name, text: "\(path) is not there: its sessions cannot work")
    }
  }

  /// Who is let in.
  private var whoIsLetIn: Finding {
    get async {
      let address = configuration.listen
      do {
        let keys = try await DataDirectory.keys(in: configuration.data)
        try configuration.validateListen(hasKeys: !keys.isEmpty)
        guard !keys.isEmpty else {
          return Finding(
            verdict: .good, name: "access", text: "no keys: whoever reaches \(address) is let in, as the owner 'local'")
        }
        let revoked = keys.count { $0.revokedAt != nil }
        guard revoked < keys.count else {
          return Finding(verdict: .warning, name: "access", text: "all keys are revoked: nobody is let in")
        }
        let text = "\(keys.count - revoked) keys, and \(revoked) that are revoked: a request needs one"
        guard !address.isLoopback else { return Finding(verdict: .good, name: "access", text: text) }
        return Finding(
          verdict: .warning, name: "access",
          text: "\(text). \(address.host) is reached by others: put a proxy with TLS before it")
      } catch let error as CentaurError {
        return Finding(verdict: .bad, name: "access", text: error.message)
      } catch { return Finding(verdict: .bad, name: "access", text: "\(error)") }
    }
  }

  private var keys: [Finding] {
    Composition(configuration: configuration, environment: environment).missingKeys.map {
      Finding(verdict: .warning, name: "key", text: $0)
    }
  }
}

extension WorkspaceSource {
  /// As `doctor` names it.
  fileprivate var description: String {
    switch self {
    case .empty: "nothing"
    case .template(let directory): "a copy of \(directory)"
    case .git(let directory, let ref): "a clone of \(directory)" + (ref.map { " at \($0)" } ?? "")
    }
  }
}
