import CShimSystem
import Glibc

/// A loopback listener inside a sandbox that carries bytes to a socket of the gateway's: Codex speaks TCP only.
///
/// One thread, one `poll`; a half that has ended is passed on as a half-close, so that a request without a length and
/// an answer that goes on both arrive whole.
struct Forwarder {
  private let socket: String

  /// One direction of one connection.
  private struct Pump {
    let from: Int32
    let to: Int32
    var bytes: [UInt8] = []
    var hasEnded = false
    var isDone = false
  }

  /// - Parameter socket: the path of the Unix socket to which every connection goes.
  init(to socket: String) { self.socket = socket }

  /// Serves the listener that is this process's standard input, until whoever started it ends.
  func run() -> Never {
    centaur_die_with_parent()
    signal(SIGPIPE, SIG_IGN)
    Descriptors.setNonBlocking(0)
    var pumps: [Pump] = []
    while true { step(0, &pumps) }
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
    let gateway = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    guard let address = Descriptors.unixAddress(socket),
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
