import ControlPlane
import Ingress
import NIOCore
import SessionModel
import Testing

/// What of a request makes it the same as an earlier one: taken for another's, a client would be shown a foreign answer;
/// taken for a new one, its work would be done twice.
struct SentRequestTests {
  private static func sent(
    _ headers: [String: String], route: String = "/v1/responses", owner: Owner = .local, body: String = "{}"
  ) -> SentRequest? {
    SentRequest(RequestHeaders(headers), route: route, owner: owner, body: ByteBuffer(string: body))
  }

  @Test("only what counts its tries or has a name is looked at")
  func asked() {
    #expect(Self.sent([:]) == nil)
    for wrong in ["", "x", "-1", "1.5", "99999999999999999999"] {
      #expect(Self.sent(["x-stainless-retry-count": wrong]) == nil, "\(wrong)")
    }
    #expect(Self.sent(["X-Stainless-Retry-Count": "0"]) != nil)
    #expect(Self.sent(["Idempotency-Key": "k"]) != nil)
  }

  @Test("owner, route, body and our own headers make another request of it; nothing else does")
  func same() throws {
    let count = ["x-stainless-retry-count": "1"]
    let one = try #require(Self.sent(count))
    let same = ["x-stainless-timeout": "3", "user-agent": "u", "authorization": "Bearer a", "content-length": "2"]
    #expect(Self.sent(count.merging(same) { $1 }) == one)
    let others = [
      Self.sent(count, route: "/v1/messages"), Self.sent(count, owner: Owner(rawValue: "other")),
      Self.sent(count, body: "{ }"), Self.sent(count.merging(["x-centaur-thread-key": "api:a"]) { $1 }),
      Self.sent(count.merging(["x-centaur-thread-key": "api:b"]) { $1 }),
      Self.sent(count.merging(["x-centaur-harness": "api:b"]) { $1 }),
    ]
    #expect(Set(others + [one]).count == others.count + 1)
  }
}
