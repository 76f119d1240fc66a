import Glibc
import NIOPosix

/// Names to addresses as the system does it.
public enum SystemResolver {
  /// - Throws: where the name has none
  @Sendable public static func addresses(_ name: String) async throws -> [EgressAddress] {
    try await NIOThreadPool.singleton.runIfActive {
      var hints = addrinfo()
      hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
      var list: UnsafeMutablePointer<addrinfo>?
      guard getaddrinfo(name, nil, &hints, &list) == 0 else { throw NoAddress() }
      defer { freeaddrinfo(list) }
      var found: [EgressAddress] = []
      var entry = list
      while let current = entry {
        if let address = address(current.pointee), !found.contains(address) { found.append(address) }
        entry = current.pointee.ai_next
      }
      return found
    }
  }

  struct NoAddress: Error {}

  private static func address(_ entry: addrinfo) -> EgressAddress? {
    guard let pointer = entry.ai_addr else { return nil }
    switch entry.ai_family {
    case AF_INET:
      return pointer.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { socket in
        EgressAddress(bytes: withUnsafeBytes(of: socket.pointee.sin_addr) { Array($0) })
      }
    case AF_INET6:
      return pointer.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { socket in
        EgressAddress(bytes: withUnsafeBytes(of: socket.pointee.sin6_addr) { Array($0) })
      }
    default: return nil
    }
  }
}
