import NIOCore
import NIOHTTP1
import SessionModel

@testable import ModelGateway

/// What a sandbox and a provider send the gateway. The first byte says which of its readers is meant.
enum GatewayTarget {
  static func check(_ input: [UInt8]) throws {
    let text = Array(input.dropFirst())
    switch input.first {
    case UInt8(ascii: "c"): try call(text)
    case UInt8(ascii: "e"): try usage(text, "text/event-stream")
    case UInt8(ascii: "b"): try usage(text, "application/json")
    case UInt8(ascii: "p"): try proxy(String(decoding: text, as: UTF8.self))
    default: return
    }
  }

  private static func call(_ body: [UInt8]) throws {
    do {
      let model = try CallRules.model(ByteBuffer(bytes: body), allowed: ["gpt-5.5", "claude-opus-5-5"])
      try require(["gpt-5.5", "claude-opus-5-5"].contains(model), "a model that is not on the list")
    } catch let error as CentaurError {
      try require(!Lines.breaks(Refusal(error, uri: "/v1/responses").body.serialized), "a refusal that ends a line")
      try require(error.message.utf8.count < 2000, "an error of \(error.message.utf8.count) bytes")
    }
    let path = String(decoding: body.prefix(200), as: UTF8.self)
    if let allowed = try? CallRules.path(.POST, path) {
      try require(
        path == allowed.path.rawValue || path.hasPrefix(allowed.path.rawValue + "?"), "a path that leads elsewhere")
      try require(["", "?beta=true"].contains(allowed.query), "a query that goes along")
    }
  }

  /// However an answer is cut, it costs the same.
  private static func usage(_ answer: [UInt8], _ type: String) throws {
    var whole = UsageReader(contentType: type)
    whole.feed(ByteBuffer(bytes: answer).readableBytesView)
    whole.finish()
    var pieces = UsageReader(contentType: type)
    for start in stride(from: 0, to: answer.count, by: 7) {
      pieces.feed(ByteBuffer(bytes: answer[start..<min(start + 7, answer.count)]).readableBytesView)
    }
    pieces.finish()
    try require(
      whole.usage == pieces.usage && whole.events == pieces.events, "an answer whose cost depends on how it comes")
    guard let usage = whole.usage else { return }
    try require(
      min(usage.input, usage.cachedInput, usage.output, usage.reasoning) >= 0, "an answer that costs less than nothing")
    var turn = TurnUsage()
    for _ in 0..<3 { turn.add(usage) }
    try require(turn.sum.total >= 0, "a sum that runs over")
  }

  private static func proxy(_ head: String) throws {
    let bytes = ByteBuffer(string: head)
    if let end = EgressRequest.endOfHead(bytes.readableBytesView) {
      try require(end <= bytes.readableBytesView.endIndex, "a head that ends behind its end")
    }
    if let request = try? EgressRequest(head: head) {
      try require((0...65535).contains(request.port), "a port that none can have")
      _ = EgressName(request.host)
    }
    if let network = EgressNetwork(head), let address = EgressAddress(String(head.prefix { $0 != "/" })) {
      try require(network.contains(address), "a network without its own address")
    }
    if let entry = EgressRules.Entry(head) { _ = String(describing: entry) }
  }
}
