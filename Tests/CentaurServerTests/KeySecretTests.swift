import HTTPTypes
import SessionModel
import Testing

@testable import CentaurServer

/// Secrets of keys, and how clients show them.
struct KeySecretTests {
  private static let secret = "centaur_sk_" + String(repeating: "0a", count: 24)

  @Test("a secret has the form that scanners are told, and no two are alike")
  func form() throws {
    let secrets = (0..<100).map { _ in KeySecret() }
    for secret in secrets {
      #expect(secret.text.wholeMatch(of: #/centaur_sk_[0-9a-f]{48}/#) != nil)
      #expect(KeySecret(secret.text)?.digest == secret.digest)
      #expect(secret.digest.bytes.count == 32)
    }
    #expect(Set(secrets.map(\.text)).count == 100)
    #expect(Set(secrets.map(\.digest)).count == 100)
  }

  @Test(
    "what cannot be a secret is not looked up",
    arguments: [
      "", "centaur_sk_", "sk-123", "centaur_sk_0a", String(secret.dropLast()), secret + "0", secret.uppercased(),
      "x" + secret, secret.replacing("0a0a", with: "0g0a"), " " + secret, secret + "\n",
    ])
  func noSecret(_ text: String) { #expect(KeySecret(text) == nil) }

  /// The secret that a request shows; "foreign" or "none" where it shows none of ours.
  private static func shown(_ headers: HTTPFields) -> String {
    switch ShownKey(headers) {
    case .none: "none"
    case .foreign: "foreign"
    case .secret(let secret): secret.text
    }
  }

  private static let apiKey = HTTPField.Name("x-api-key")!

  @Test("a key comes as a bearer or as x-api-key, and the placeholder in the other one does not matter")
  func shown() {
    let secret = Self.secret
    #expect(Self.shown([.authorization: "Bearer \(secret)"]) == secret)
    #expect(Self.shown([.authorization: "bearer  \(secret) "]) == secret)
    #expect(Self.shown([Self.apiKey: secret]) == secret)
    #expect(Self.shown([.authorization: "Bearer unused", Self.apiKey: secret]) == secret)
    #expect(Self.shown([.authorization: "Bearer \(secret)", Self.apiKey: "sk-ant-1"]) == secret)
    #expect(Self.shown([.authorization: "Bearer unused"]) == "foreign")
    #expect(Self.shown([Self.apiKey: "sk-ant-1"]) == "foreign")
    #expect(Self.shown([.authorization: "Basic \(secret)"]) == "none")
    #expect(Self.shown([.authorization: "Bearer ", Self.apiKey: ""]) == "none")
    #expect(Self.shown([:]) == "none")
  }

  @Test("two keys in one header are none")
  func twice() {
    var headers = HTTPFields()
    headers.append(HTTPField(name: .authorization, value: "Bearer \(Self.secret)"))
    headers.append(HTTPField(name: .authorization, value: "Bearer \(Self.secret)"))
    #expect(Self.shown(headers) == "foreign")
  }
}

/// How many requests a minute are let in.
struct RequestBucketTests {
  @Test("a minute's requests are let in at once, the next one when its time has come")
  func atOnce() {
    let start = ContinuousClock.now
    var bucket = RequestBucket(limit: 6, now: start)
    for _ in 0..<6 { #expect(bucket.take(now: start) == nil) }
    #expect(bucket.take(now: start) == .seconds(10))
    // One that is refused costs nothing.
    #expect(bucket.take(now: start) == .seconds(10))
    #expect(bucket.take(now: start + .seconds(9)) != nil)
    #expect(bucket.take(now: start + .seconds(10)) == nil)
    #expect(bucket.take(now: start + .seconds(10)) != nil)
  }

  @Test("after a quiet time there is one minute's worth, and no more")
  func quiet() {
    let start = ContinuousClock.now
    var bucket = RequestBucket(limit: 3, now: start)
    let later = start + .seconds(3600)
    for _ in 0..<3 { #expect(bucket.take(now: later) == nil) }
    #expect(bucket.take(now: later) == .seconds(20))
  }

  @Test("whoever keeps to the limit is never refused", arguments: [1, 7, 60, 599])
  func steady(_ limit: Int) {
    let start = ContinuousClock.now
    var bucket = RequestBucket(limit: limit, now: start)
    for _ in 0..<limit { _ = bucket.take(now: start) }
    for number in 1...500 { #expect(bucket.take(now: start + .seconds(60) * number / limit) == nil) }
  }
}
