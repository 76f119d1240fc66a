import CShimSystem
import Glibc
import ShimProtocol

/// The last step before a harness inside a sandbox: loopback ports that lead to the gateway's sockets, made before the
/// harness runs, so that its first call finds them.
struct Doorway {
  private let options: ForwardOptions

  init(_ options: ForwardOptions) { self.options = options }

  /// Becomes the command, whose arguments and environment name the ports. The forwarders live as long as it does.
  func enter() -> Never {
    // A shim that is killed takes its harness along also where no namespace does.
    centaur_die_with_parent()
    var ports: [(placeholder: String, port: String)] = []
    for target in options.targets {
      let (listener, port) = listen()
      forward(listener, to: target.socket)
      close(listener)
      ports.append((target.placeholder, String(port)))
    }
    var environment: [String] = []
    var entry = environ
    while let text = entry.pointee {
      environment.append(String(cString: text))
      entry += 1
    }
    Program.become(options.command.map { filled($0, ports) }, environment: environment.map { filled($0, ports) })
  }

  private func filled(_ text: String, _ ports: [(placeholder: String, port: String)]) -> String {
    var text = text
    for (placeholder, port) in ports {
      while let found = text.firstRange(of: placeholder) { text.replaceSubrange(found, with: port) }
    }
    return text
  }

  private func listen() -> (descriptor: Int32, port: UInt16) {
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    _ = fcntl(listener, F_SETFD, FD_CLOEXEC)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isBound = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        bind(listener, address, length) == 0 && Glibc.listen(listener, 64) == 0
          && getsockname(listener, address, &length) == 0
      }
    }
    guard isBound else { fail("cannot listen on the loopback interface: \(String(cString: strerror(errno)))") }
    return (listener, UInt16(bigEndian: address.sin_port))
  }

  private func forward(_ listener: Int32, to socket: String) {
    let null = open("/dev/null", O_RDWR | O_CLOEXEC)
    defer { close(null) }
    var pid: pid_t = 0
    // A session of its own: a signal for the harness is not for it.
    let error = withCStrings([Program.own, "carry", socket]) { arguments in
      withCStrings([]) { centaur_spawn(Program.own, arguments, $0, "/", listener, null, null, 1, &pid) }
    }
    guard error == 0 else { fail("cannot start the forwarder: \(String(cString: strerror(error)))") }
  }
}
