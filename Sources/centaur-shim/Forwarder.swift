import CShimSystem
import Glibc

/// A loopback listener inside a sandbox that carries bytes to a socket of the gateway's: Codex speaks TCP only.
///
/// A gateway that is being replaced is waited for: a call that comes meanwhile is late, and does not fail.
///
/// One thread, one `poll`; a half that has ended is passed on as a half-close, so that a request without a length and
/// an answer that goes on both arrive whole.
struct Forwarder {
  private let socket: String
  private var pumps: [Pump] = []
  private var waiting: [Waiting] = []

  /// One direction of one connection.
  private struct Pump {
    let from: Int32
    let to: Int32
    var bytes: [UInt8] = []
    var hasEnded = false
    var isDone = false
  }

  /// A connection that no gateway has taken yet.
  private struct Waiting {
    let client: Int32
    /// By `Descriptors.now`.
    let until: Int64
  }

  /// How long a connection waits for a gateway, in milliseconds: the server starts another one within that, also on a
  /// machine with much to do.
  private static let patience: Int64 = 10_000
  private static let betweenTries: Int32 = 50
  /// `POLLRDHUP`, which the C library hides.
  private static let hasGone: Int16 = 0x2000

  /// - Parameter socket: the path of the Unix socket to which every connection goes.
  init(to socket: String) { self.socket = socket }

  /// Serves the listener that is this process's standard input, until whoever started it ends.
  mutating func run() -> Never {
    centaur_die_with_parent()
    signal(SIGPIPE, SIG_IGN)
    Descriptors.setNonBlocking(0)
    while true { step(0) }
  }

  private mutating func step(_ listener: Int32) {
    var polled = [pollfd(fd: listener, events: Int16(POLLIN), revents: 0)]
    for pump in pumps {
      // A pump that holds bytes waits for its target; one that holds none waits for its source.
      let waitsForTarget = !pump.bytes.isEmpty
      let descriptor = pump.isDone ? -1 : waitsForTarget ? pump.to : pump.from
      polled.append(
        pollfd(fd: descriptor, events: Int16(waitsForTarget ? POLLOUT : POLLIN), revents: 0))
    }
    let firstWaiting = polled.count
    polled += waiting.map { pollfd(fd: $0.client, events: Self.hasGone, revents: 0) }
    guard poll(&polled, nfds_t(polled.count), waiting.isEmpty ? -1 : Self.betweenTries) >= 0 else { return }
    for index in pumps.indices where polled[index + 1].revents != 0 { advance(&pumps[index]) }
    removeFinished()
    retry(gone: polled[firstWaiting...].map { $0.revents != 0 })
    if polled[0].revents != 0 { take(listener) }
  }

  private mutating func take(_ listener: Int32) {
    let client = accept(listener, nil, nil)
    guard client >= 0 else { return }
    Descriptors.setNonBlocking(client)
    lead(Waiting(client: client, until: Descriptors.now + Self.patience))
  }

  /// Whoever waits is led to the gateway if it is there, and sent away if it has not come in time. Who has `gone` is
  /// not waited for: nobody would read what the model says.
  private mutating func retry(gone: [Bool]) {
    let before = waiting
    waiting = []
    for (connection, isGone) in zip(before, gone) {
      if isGone { close(connection.client) } else { lead(connection) }
    }
  }

  private mutating func lead(_ connection: Waiting) {
    let gateway = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    // A gateway that takes no more connections for the moment is not waited for in here, where others' bytes pass.
    Descriptors.setNonBlocking(gateway)
    guard let address = Descriptors.unixAddress(socket),
      Descriptors.withAddress(address, { Glibc.connect(gateway, $0, $1) }) == 0
    else {
      let mayCome = [ECONNREFUSED, ENOENT, EAGAIN].contains(errno) && Descriptors.now < connection.until
      close(gateway)
      if mayCome { waiting.append(connection) } else { close(connection.client) }
      return
    }
    pumps += [Pump(from: connection.client, to: gateway), Pump(from: gateway, to: connection.client)]
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

  private mutating func removeFinished() {
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
