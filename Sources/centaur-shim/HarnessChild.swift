import CShimSystem
import Glibc
import ShimProtocol

/// The harness's process and the shim's ends of its pipes.
struct HarnessChild {
  let pid: pid_t
  /// -1 once closed.
  var input: Int32
  var output: Int32
  var errors: Int32

  /// - Returns: nil and an errno where it cannot be started.
  static func start(_ command: [String], cwd: String?) -> Result<HarnessChild, StartError> {
    guard let input = Descriptors.pipe(), let output = Descriptors.pipe(), let errors = Descriptors.pipe() else {
      return .failure(StartError(number: errno))
    }
    var pid: pid_t = 0
    let error = withCStrings(command) { arguments in
      centaur_spawn(command[0], arguments, environ, cwd, input.read, output.write, errors.write, 1, &pid)
    }
    for end in [input.read, output.write, errors.write] { close(end) }
    guard error == 0 else {
      for end in [input.write, output.read, errors.read] { close(end) }
      return .failure(StartError(number: error))
    }
    for end in [input.write, output.read, errors.read] { Descriptors.setNonBlocking(end) }
    return .success(HarnessChild(pid: pid, input: input.write, output: output.read, errors: errors.read))
  }

  struct StartError: Error {
    let number: Int32
    var text: String { String(cString: strerror(number)) }
  }
}
