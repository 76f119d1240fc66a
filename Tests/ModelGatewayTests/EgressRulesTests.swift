import Testing

@testable import ModelGateway

@Suite("Where a sandbox may connect")
struct EgressRulesTests {
  @Test(
    "no address of this machine, its networks or its cloud is public, in whatever form",
    arguments: [
      "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
      "169.254.169.254", "100.64.0.1", "100.127.255.255", "192.0.0.170", "192.0.2.1", "198.18.0.1", "198.51.100.7",
      "203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "192.88.99.1", "::", "::1",
      "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1",
      "::8.8.8.8", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:808:808::1",
      "2001::1", "2001:db8::1", "3fff::1", "100::1", "fec0::1", "5f00::1",
    ])
  func forbidden(_ text: String) throws {
    #expect(try !#require(EgressAddress(text)).isPublic)
  }

  @Test(
    "public addresses are",
    arguments: [
      "8.8.8.8", "172.32.0.1", "100.128.0.1", "169.253.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808",
    ])
  func open(_ text: String) throws {
    #expect(try #require(EgressAddress(text)).isPublic)
  }

  @Test(
    "an address is no name, however it is spelled, and neither is what DNS cannot hold",
    arguments: [
      "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "017700000001", "1.2.3.4.", "::1", "[::1]",
      "a.0x7f", "pypi.org.1", "", ".", "..", "a..b", "-a.b", "a-.b", "ä.org", "pypi.org\u{0}", "a b", "a/b", "a:80",
      "user@pypi.org", "ｐypi.org", "*.org",
    ])
  func names(_ text: String) { #expect(EgressName(text) == nil) }

  @Test("a name is matched whole, in any case, with or without the root's dot")
  func exact() throws {
    let rules = EgressRules(allow: [try #require(.init("PyPI.org"))])
    for host in ["pypi.org", "PYPI.ORG", "pypi.org."] {
      #expect(rules.allows(try #require(EgressName(host)), port: 443))
    }
    for host in ["files.pypi.org", "evilpypi.org", "pypi.org.evil.com", "pypi.or"] {
      #expect(!rules.allows(try #require(EgressName(host)), port: 443))
    }
    #expect(rules.allows(try #require(EgressName("pypi.org")), port: 80))
    #expect(!rules.allows(try #require(EgressName("pypi.org")), port: 22))
  }

  @Test("a wildcard stands for the names below, not for the name itself")
  func wildcard() throws {
    let rules = EgressRules(allow: [try #require(.init("*.debian.org:8443"))])
    #expect(rules.allows(try #require(EgressName("deb.debian.org")), port: 8443))
    #expect(rules.allows(try #require(EgressName("a.b.debian.org")), port: 8443))
    #expect(!rules.allows(try #require(EgressName("debian.org")), port: 8443))
    #expect(!rules.allows(try #require(EgressName("evildebian.org")), port: 8443))
    #expect(!rules.allows(try #require(EgressName("deb.debian.org")), port: 443))
  }

  @Test(
    "entries that allow nothing sensible are refused",
    arguments: [
      "*", "*.", "10.0.0.1", "pypi.org:0", "pypi.org:65536", "pypi.org:", "https://pypi.org", "a.*.org", "[::1]:443",
    ])
  func entries(_ text: String) { #expect(EgressRules.Entry(text) == nil) }

  @Test("one forbidden address among a name's forbids the name; an operator's own network is allowed by name")
  func choice() throws {
    let out = try #require(EgressAddress("8.8.8.8"))
    let inside = try #require(EgressAddress("10.99.0.5"))
    #expect(EgressRules(allow: []).choose([out, inside]) == nil)
    #expect(EgressRules(allow: []).choose([out]) == out)
    #expect(EgressRules(allow: []).choose([]) == nil)
    let rules = EgressRules(allow: [], addresses: [try #require(EgressNetwork("10.99.0.0/24"))])
    #expect(rules.choose([inside, out]) == inside)
    #expect(rules.choose([try #require(EgressAddress("10.99.1.5"))]) == nil)
  }

  @Test(
    "what is no CONNECT is told so",
    arguments: [
      ("GET http://pypi.org/ HTTP/1.1\r\n\r\n", EgressRequest.Failure.notConnect),
      ("CONNECT pypi.org HTTP/1.1\r\n\r\n", .malformed), ("CONNECT pypi.org:x HTTP/1.1\r\n\r\n", .malformed),
      ("CONNECT  pypi.org:443 HTTP/1.1\r\n\r\n", .malformed), ("\u{16}\u{3}\u{1}\r\n\r\n", .malformed),
      ("CONNECT pypi.org:443 HTTP/2\r\n\r\n", .malformed), ("CONNECT pypi.org:99999 HTTP/1.1\r\n\r\n", .malformed),
    ])
  func requests(_ head: String, _ failure: EgressRequest.Failure) {
    #expect(throws: failure) { try EgressRequest(head: head) }
  }
}
