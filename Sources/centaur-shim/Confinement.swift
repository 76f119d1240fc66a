import CShimSystem
import Glibc
import ShimProtocol

/// Takes limits upon itself and becomes a command: limits hold for what a process starts, and never for what it was.
struct Confinement {
  private let options: ConfineOptions

  init(_ options: ConfineOptions) { self.options = options }

  func enter() -> Never {
    centaur_leave_keyring()
    for group in options.groups {
      let file = open("\(group)/cgroup.procs", O_WRONLY | O_CLOEXEC)
      // 0 is whoever writes it.
      guard file >= 0, Descriptors.writeAll(file, Array("0".utf8)) else {
        fail("cannot enter the control group \(group): \(String(cString: strerror(errno)))")
      }
      close(file)
    }
    for limit in options.limits {
      let error = centaur_limit(limit.name, limit.value)
      guard error == 0 else { fail("cannot limit \(limit.name): \(String(cString: strerror(error)))") }
    }
    for number in [SIGINT, SIGTERM, SIGHUP] {
      switch options.signals {
      case .ignored: signal(number, SIG_IGN)
      case .standard: signal(number, SIG_DFL)
      case nil: break
      }
    }
    Program.become(options.command, environment: nil)
  }
}

/// What this process is, and may become.
enum Program {
  /// This program's own path.
  static let own: String = {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    let length = readlink("/proc/self/exe", &buffer, buffer.count)
    guard length > 0 else { fail("cannot read the path of this program") }
    return String(decoding: buffer[..<length].map(UInt8.init(bitPattern:)), as: UTF8.self)
  }()

  /// - Parameter environment: nil: the present one.
  static func become(_ command: [String], environment: [String]?) -> Never {
    let error = withCStrings(command) { arguments in
      if let environment {
        _ = withCStrings(environment) { execve(command[0], arguments, $0) }
      } else {
        execv(command[0], arguments)
      }
      return errno
    }
    fail("\(command[0]): \(String(cString: strerror(error)))")
  }
}
