import Glibc

/// An IP address as the egress proxy judges it: by what it reaches, however it is written.
public struct EgressAddress: Sendable, Hashable, CustomStringConvertible {
  /// 4 or 16, in network order.
  public let bytes: [UInt8]

  public init?(bytes: [UInt8]) {
    guard bytes.count == 4 || bytes.count == 16 else { return nil }
    self.bytes = bytes
  }

  /// Reads dotted decimals or IPv6 text, nothing else.
  public init?(_ text: String) {
    var four = in_addr()
    var sixteen = in6_addr()
    if inet_pton(AF_INET, text, &four) == 1 {
      bytes = withUnsafeBytes(of: four) { Array($0) }
    } else if inet_pton(AF_INET6, text, &sixteen) == 1 {
      bytes = withUnsafeBytes(of: sixteen) { Array($0) }
    } else {
      return nil
    }
  }

  public var description: String {
    var buffer = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    let family = bytes.count == 4 ? AF_INET : AF_INET6
    guard inet_ntop(family, bytes, &buffer, socklen_t(buffer.count)) != nil else { return "?" }
    return String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  /// Whether it is an address of the public Internet: none of this machine, of its networks, of its cloud's metadata,
  /// and none reserved (IANA's registries of special-purpose addresses, RFC 6890 and its successors).
  public var isPublic: Bool {
    if bytes.count == 4 { return Self.isPublic(bytes[...]) }
    if bytes.starts(with: Self.mapped) || bytes.starts(with: Self.translated) {
      // ::ffff:0:0/96 and NAT64's 64:ff9b::/96 reach what their last four bytes name.
      return Self.isPublic(bytes[12...])
    }
    return Self.global.contains(self) && !Self.special.contains { $0.contains(self) }
  }

  private static let mapped: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]
  private static let translated: [UInt8] = [0, 0x64, 0xFF, 0x9B, 0, 0, 0, 0, 0, 0, 0, 0]

  private static func isPublic(_ four: ArraySlice<UInt8>) -> Bool {
    guard let address = EgressAddress(bytes: Array(four)) else { return false }
    return !notPublic.contains { $0.contains(address) }
  }

  /// This network, private, carrier-grade NAT, loopback, link-local (with the metadata services), protocol assignments,
  /// documentation, 6to4 relays, benchmarks, multicast, reserved and broadcast.
  private static let notPublic = networks([
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/4", "240.0.0.0/4",
  ])

  /// Of IPv6 only this is handed out; loopback, IPv4-compatible, unique-local, link-local and multicast lie outside.
  private static let global = EgressNetwork("2000::/3")!

  /// Protocol assignments with Teredo, documentation, 6to4 (whose packets go to the IPv4 address within).
  private static let special = networks(["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"])

  private static func networks(_ texts: [String]) -> [EgressNetwork] { texts.compactMap(EgressNetwork.init) }
}

/// A range of addresses (`10.99.0.0/24`, `fd00:1::/64`, a single address).
public struct EgressNetwork: Sendable, Hashable, CustomStringConvertible {
  private let base: EgressAddress
  private let length: Int

  public init?(_ text: String) {
    let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    guard let base = EgressAddress(String(parts[0])) else { return nil }
    let longest = base.bytes.count * 8
    guard let length = parts.count == 1 ? longest : Int(parts[1]), (0...longest).contains(length) else { return nil }
    self.base = base
    self.length = length
  }

  public var description: String { "\(base)/\(length)" }

  public func contains(_ address: EgressAddress) -> Bool {
    guard address.bytes.count == base.bytes.count else { return false }
    for bit in 0..<length where (address.bytes[bit / 8] ^ base.bytes[bit / 8]) & (0x80 >> (bit % 8)) != 0 {
      return false
    }
    return true
  }
}
