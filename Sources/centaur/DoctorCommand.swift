import ArgumentParser
import CentaurServer
import FoundationEssentials

/// `centaur doctor`: whether this machine can do what the configuration asks for.
struct DoctorCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor", abstract: "Check this machine: sandbox, limits, harnesses, keys.",
    discussion: "It starts a sandbox and looks around in it. Its status is 1 where something does not work.")

  @OptionGroup var place: PlaceOptions
  @OptionGroup var sandbox: SandboxOptions

  func run() async throws {
    let environment = ProcessInfo.processInfo.environment
    let configuration: ServerConfiguration
    do {
      configuration = try ServerConfiguration(place, sandbox: sandbox, environment: environment)
    } catch let error as ConfigurationError {
      throw error.refusal()
    }
    let findings = await Doctor(configuration: configuration, environment: environment).findings()
    let width = findings.map(\.name.count).max() ?? 0
    for finding in findings {
      let verdict = finding.verdict.rawValue.padded(to: 4)
      print("\(verdict)  \(finding.name.padded(to: width))  \(finding.text)")
    }
    if findings.contains(where: { $0.verdict == .bad }) { throw ExitCode(1) }
  }
}

extension String {
  fileprivate func padded(to width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }
}
