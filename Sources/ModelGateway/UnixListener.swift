import Glibc
import NIOCore
import NIOPosix
import Synchronization

/// A Unix socket that connections are taken from, and the connections that are open.
///
/// It is bound under another name and renamed into its place: whoever listened there before goes on with the
/// connections that it has, and at no moment is nobody there. Whether it is still the one in its place tells
/// `isInPlace`.
///
/// Concurrency: each connection is one unstructured task, counted here; `isIdle` tells when the last has ended. A
/// connection that its peer closes is cancelled.
final class UnixListener: Sendable {
  let path: String
  private let identity: GatewayFiles.Identity?
  private let channel: any Channel
  private let connections: Connections

  final class Connections: Sendable {
    let count = Mutex(0)
  }

  private init(path: String, channel: any Channel, connections: Connections) {
    self.path = path
    self.channel = channel
    self.connections = connections
    identity = GatewayFiles.Identity(path)
  }

  /// - Parameters:
  ///   - directory: may be deeper than the 107 bytes that a socket's path may have; it is named by a descriptor.
  ///   - limit: connections at one time; more are closed at once, so that one sandbox cannot take all descriptors.
  ///   - setUp: prepares a connection's pipeline and returns what serves it.
  /// - Throws: what the system says
  static func bind(
    directory: String, name: String, limit: Int,
    setUp: @escaping @Sendable (any Channel) throws -> @Sendable () async -> Void
  ) async throws -> UnixListener {
    let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw FileFailure(path: directory, number: errno) }
    defer { Glibc.close(descriptor) }
    let temporary = ".\(name).\(getpid()).\(UInt32.random(in: 0 ... .max))"
    let connections = Connections()
    let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .serverChannelOption(.backlog, value: 256)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          let isWelcome = connections.count.withLock { count in
            guard count < limit else { return false }
            count += 1
            return true
          }
          guard isWelcome else { return channel.close(promise: nil) }
          let serve: @Sendable () async -> Void
          do { serve = try setUp(channel) } catch {
            connections.count.withLock { $0 -= 1 }
            throw error
          }
          let task = Task {
            await serve()
            connections.count.withLock { $0 -= 1 }
          }
          channel.closeFuture.whenComplete { _ in task.cancel() }
        }
      }
      .bind(unixDomainSocketPath: "/proc/self/fd/\(descriptor)/\(temporary)").get()
    guard fchmodat(descriptor, temporary, 0o600, 0) == 0, renameat(descriptor, temporary, descriptor, name) == 0 else {
      let number = errno
      unlinkat(descriptor, temporary, 0)
      try await channel.close()
      throw FileFailure(path: "\(directory)/\(name)", number: number)
    }
    return UnixListener(path: "\(directory)/\(name)", channel: channel, connections: connections)
  }

  /// No one has put another socket into its place.
  var isInPlace: Bool { identity != nil && GatewayFiles.Identity(path) == identity }

  var openConnections: Int { connections.count.withLock { $0 } }

  /// Takes no more connections; those that are open go on.
  func close() async { try? await channel.close() }

  /// Takes no more connections, and the name goes where it is still ours.
  func remove() async {
    if isInPlace { unlink(path) }
    await close()
  }
}

extension Channel {
  /// Whether a process of this same user is at the other end.
  func isOfSameUser() async -> Bool {
    guard let provider = self as? any SocketOptionProvider,
      let peer: PeerCredentials = try? await provider.unsafeGetSocketOption(
        level: .socket, name: NIOBSDSocket.Option(rawValue: SO_PEERCRED)
      ).get()
    else { return false }
    return peer.user == geteuid()
  }
}

/// `struct ucred`, which the C library hides.
private struct PeerCredentials: Sendable {
  var process: Int32 = 0
  var user: UInt32 = 0
  var group: UInt32 = 0
}
