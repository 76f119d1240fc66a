import Glibc

/// The loopback listener inside a sandbox that carries bytes to the gateway's socket: Codex speaks TCP only.
///
/// One thread, one `poll`; a half that has ended is passed on as a half-close, so that a request without a length and
/// an answer that goes on both arrive whole.
struct Forwarder {
  private let options: ForwardOptions

  /// One direction of one connection.
  private struct Pump {
    let from: Int32
    let to: Int32
    var bytes: [UInt8] = []
    var hasEnded = false
    var isDone = false
  }

  init(_ options: ForwardOptions) { self.options = options }

  func run() -> Never {
    signal(SIGPIPE, SIG_IGN)
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var yes: Int32 = 1
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = options.port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    let isBound = withUnsafePointer(to: address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listener, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard isBound == 0, listen(listener, 64) == 0 else { fail("cannot listen on 127.0.0.1:\(options.port)") }
    Descriptors.setNonBlocking(listener)
    var pumps: [Pump] = []
    while true { step(listener, &pumps) }
  }

  private func step(_ listener: Int32, _ pumps: inout [Pump]) {
    var polled = [pollfd(fd: listener, events: Int16(POLLIN), revents: 0)]
    for pump in pumps {
      // A pump that holds bytes waits for its target; one that holds none waits for its source.
      let waitsForTarget = !pump.bytes.isEmpty
      let descriptor = pump.isDone ? -1 : waitsForTarget ? pump.to : pump.from
      polled.append(
        pollfd(fd: descriptor, events: Int16(waitsForTarget ? POLLOUT : POLLIN), revents: 0))
    }
    guard poll(&polled, nfds_t(polled.count), -1) > 0 else { return }
    for index in pumps.indices where polled[index + 1].revents != 0 { advance(&pumps[index]) }
    if polled[0].revents != 0, let pair = connect(listener) { pumps += pair }
    removeFinished(&pumps)
  }

  private func connect(_ listener: Int32) -> [Pump]? {
    let client = accept(listener, nil, nil)
    guard client >= 0 else { return nil }
    let gateway = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    guard let address = Descriptors.unixAddress(options.socket),
      Descriptors.withAddress(address, { Glibc.connect(gateway, $0, $1) }) == 0
    else {
      close(client)
      close(gateway)
      return nil
    }
    Descriptors.setNonBlocking(client)
    Descriptors.setNonBlocking(gateway)
    return [Pump(from: client, to: gateway), Pump(from: gateway, to: client)]
  }

  private func advance(_ pump: inout Pump) {
    if pump.bytes.isEmpty {
      switch Descriptors.read(pump.from, upTo: 64 << 10) {
      case .bytes(let bytes): pump.bytes = bytes
      case .wouldBlock: return
      case .end: pump.hasEnded = true
      }
    }
    if !pump.bytes.isEmpty {
      guard let count = Descriptors.write(pump.to, pump.bytes[...]) else {
        pump.isDone = true
        return
      }
      pump.bytes.removeFirst(count)
    }
    if pump.hasEnded, pump.bytes.isEmpty {
      shutdown(pump.to, Int32(SHUT_WR))
      pump.isDone = true
    }
  }

  private func removeFinished(_ pumps: inout [Pump]) {
    var index = 0
    while index < pumps.count {
      if pumps[index].isDone, pumps[index + 1].isDone {
        close(pumps[index].from)
        close(pumps[index].to)
        pumps.removeSubrange(index...index + 1)
      } else {
        index += 2
      }
    }
  }
}
