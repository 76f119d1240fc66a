import CShimSystem
import Glibc

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
    var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) }
    arguments.append(nil)
    defer { for argument in arguments { free(argument) } }
    var pid: pid_t = 0
    let error = centaur_spawn(
      command[0], arguments, environ, cwd, input.read, output.write, errors.write, 1, &pid)
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

/// The processes below this one, from `/proc`: commands may have left the harness's process group, but as this process
/// is their subreaper they cannot leave its tree.
enum Descendants {
  static var all: [pid_t] {
    var children: [pid_t: [pid_t]] = [:]
    guard let directory = opendir("/proc") else { return [] }
    defer { closedir(directory) }
    while let entry = readdir(directory) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
        pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      guard let pid = pid_t(name), let parent = parent(of: pid) else { continue }
      children[parent, default: []].append(pid)
    }
    var found: [pid_t] = []
    var open = children[getpid()] ?? []
    while let pid = open.popLast() {
      found.append(pid)
      open += children[pid] ?? []
    }
    return found
  }

  private static func parent(of pid: pid_t) -> pid_t? {
    let descriptor = open("/proc/\(pid)/stat", O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    guard case .bytes(let bytes) = Descriptors.read(descriptor, upTo: 1024) else { return nil }
    // The name in parentheses may hold anything; what follows the last one is `state ppid …`.
    guard let end = bytes.lastIndex(of: UInt8(ascii: ")")) else { return nil }
    let fields = String(decoding: bytes[(end + 1)...], as: UTF8.self).split(separator: " ")
    return fields.count > 1 && fields[0] != "Z" ? pid_t(fields[1]) : nil
  }
}
