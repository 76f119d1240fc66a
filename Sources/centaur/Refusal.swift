import ArgumentParser
import CentaurServer
import Glibc

extension ConfigurationError {
  /// Says on standard error what is wrong with the configuration; the status is that of wrong options (`EX_USAGE`), but
  /// how the command is used is not what was wrong.
  func refusal() -> ExitCode {
    let line = Array("Error: \(description)\n".utf8)
    _ = write(STDERR_FILENO, line, line.count)
    return ExitCode(EX_USAGE)
  }
}

/// What a command could not do, in one sentence; its status is 1.
struct Failure: Error, CustomStringConvertible {
  var description: String
}
