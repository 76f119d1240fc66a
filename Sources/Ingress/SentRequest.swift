public import ControlPlane
public import NIOCore
public import SessionModel

extension SentRequest {
  /// By which OpenAI's and Anthropic's SDKs, in every language, say how often they have tried before: 0 in the first
  /// request (openai 3.57, anthropic 2.12: `_base_client.py`).
  public static let retryHeader = "x-stainless-retry-count"

  /// A program's request, where it may be known again: it counts its tries, or has an `Idempotency-Key`.
  /// - Parameters:
  ///   - route: where it was sent to
  ///   - body: as it came
  /// - Returns: nil for all others, whose body is not looked at
  public init?(_ headers: RequestHeaders, route: String, owner: Owner, body: ByteBuffer) {
    let retries = headers[Self.retryHeader].flatMap(Int.init).flatMap { $0 >= 0 ? $0 : nil }
    guard retries != nil || headers["idempotency-key"] != nil else { return nil }
    // Our own say where it goes and what it is to do. The others change from try to try.
    let addressed = headers.names.filter { $0.hasPrefix("x-centaur-") }.sorted()
    let said = [route] + addressed.flatMap { [$0, headers[$0] ?? ""] }
    self = body.withUnsafeReadableBytes { SentRequest(owner: owner, said: said, body: $0, retries: retries) }
  }
}
