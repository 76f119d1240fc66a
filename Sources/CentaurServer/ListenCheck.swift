import Glibc
import NIOCore
import NIOPosix

/// The server cannot listen where it is told to.
public struct CannotListen: Error, Sendable, CustomStringConvertible {
  public let description: String

  /// Finds out before anything else is touched: a second server would look after sessions that it can never serve.
  /// - Throws: `CannotListen`
  static func check(_ address: ServerConfiguration.Address) async throws {
    do {
      let bootstrap = ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      try await bootstrap.bind(host: address.host, port: address.port).get().close()
    } catch let error as IOError where error.errnoCode == EADDRINUSE {
      throw Self(description: "\(address) is in use, perhaps by another Centaur; --listen takes another port")
    } catch let error as IOError {
      throw Self(description: "\(address) cannot be listened on: \(String(cString: strerror(error.errnoCode)))")
    } catch {
      throw Self(description: "\(address) cannot be listened on: \(error)")
    }
  }
}
